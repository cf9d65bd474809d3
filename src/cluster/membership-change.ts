/**
 * `aurora storage add`, `remove`, `replace`: the members of a running volume, changed one step at a time (engine/quorum/membership.ts).
 *
 * Each step is: the present configuration is settled; the next is written into the manifest; all nodes are told; a writer settles it. What has been done
 * is in the manifest and with the nodes, nowhere else: a command that dies is run again, and goes on where it was. ^C ends it between two steps.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DbError } from '../engine/errors.js';
import {
  defaultQuorum,
  quorumOf,
  votersOf,
  type Configuration,
  type Member,
} from '../engine/quorum/index.js';
import type { NodeStatus } from '../net/node-status.js';
import { toolAccess, type ToolAccess } from './tls.js';
import { StorageClient } from '../net/storage-client.js';
import { endDaemon, forgetDaemon, runningPid } from './daemon-process.js';
import { Interrupt } from './interrupt.js';
import { clusterLayout, storageDir, type ClusterLayout } from './layout.js';
import { whileChanging } from './lock.js';
import { Manifest, type StorageNodeInfo } from './manifest.js';
import { assertEven, emptiestZone, zoneTolerance } from './placement.js';
import { freePort } from './ports.js';
import { startStorageNode, storageDaemonName } from './start.js';
import { nodeProblem, rebuildText } from './status.js';

const ASK_MS = 3000;
const ROUND_MS = 300;
/** Between two lines that say the same, or the same with other figures. */
const REPEAT_MS = 10_000;
const PROGRESS_MS = 2000;
const STOP_MS = 30_000;
/** A node this far behind the others is brought in step by the writer's stream. */
const LAG_BYTES = 8 * 1024 * 1024;
const GO_ON = 'What is done stays done: run the same command again to go on.';

export interface ChangeOptions {
  root: string;
  /** For the whole command; what is done by then stays done. */
  timeoutMs: number;
  /** Spread unevenly over zones all the same. */
  force: boolean;
  progress?: ((line: string) => void) | undefined;
}

export interface AddOptions extends ChangeOptions {
  /** 'auto': the next number, or the node that is being added already. */
  id: string;
  zone?: string | undefined;
  /** A node that runs elsewhere (aurora storage start --join). */
  at?: { host: string; port: number } | undefined;
}

export interface ChangeResult {
  id: string;
  generation: number;
  copies: number;
  writeQuorum: number;
  readQuorum: number;
}

/** Adds a node, or goes on adding it. Throws MEMBER_*, CLUSTER_*. */
export function addStorageNode(options: AddOptions): Promise<ChangeResult> {
  return withChange(options, (change) => change.add(options));
}

/** Removes a node, or goes on removing it; it is stopped when it runs here. Throws MEMBER_*, CLUSTER_*. */
export function removeStorageNode(
  options: ChangeOptions & { id: string; deleteData: boolean },
): Promise<ChangeResult> {
  return withChange(options, (change) => change.remove(options.id, options.deleteData));
}

/** Adds a node, then removes another, which may be dead. Throws MEMBER_*, CLUSTER_*. */
export function replaceStorageNode(
  options: AddOptions & { old: string; deleteData: boolean },
): Promise<ChangeResult> {
  return withChange(options, async (change) => {
    const { old, deleteData } = options;
    const added = await change.addInstead(old, options);
    await change.remove(old, deleteData, true);
    return { ...change.result(added), id: added };
  });
}

async function withChange(
  options: ChangeOptions,
  work: (change: Change) => Promise<ChangeResult>,
): Promise<ChangeResult> {
  const layout = clusterLayout(options.root);
  const manifest = Manifest.open(layout);
  try {
    return await whileChanging(layout, async () => {
      const interrupt = new Interrupt();
      const change = new Change(layout, manifest, options, interrupt);
      try {
        return await work(change);
      } finally {
        change.close();
        interrupt.release();
      }
    });
  } finally {
    manifest.close();
  }
}

class Change {
  private readonly access: ToolAccess;
  private readonly deadline: number;
  /** Open connections: a rebuild may take hours, and is looked at several times a second. */
  private readonly clients = new Map<string, StorageClient>();
  private saidLast = '';
  private saidAt = 0;

  constructor(
    private readonly layout: ClusterLayout,
    private readonly manifest: Manifest,
    private readonly options: ChangeOptions,
    private readonly interrupt: Interrupt,
  ) {
    this.access = toolAccess(layout, manifest.volume);
    this.deadline = Date.now() + options.timeoutMs;
  }

  close(): void {
    for (const client of this.clients.values()) client.close();
  }

  result(id: string): ChangeResult {
    const { generation, writeQuorum, readQuorum } = this.manifest.configuration;
    return { id, generation, copies: votersOf(this.manifest.configuration).length, writeQuorum, readQuorum };
  }

  async add(options: AddOptions, replaces?: string): Promise<ChangeResult> {
    const id = this.chooseId(options.id);
    const found = this.member(id);
    if (found?.voter) {
      await this.settled();
      this.say(`storage node ${id} is a member already`);
      return this.result(id);
    }
    if (found) this.say(`storage node ${id} is being added already: going on`);
    else await this.begin(id, options, replaces);
    await this.startIfLocal(id);
    await this.settled();
    await this.rebuilt(id);
    const { configuration } = this.manifest;
    await this.step(
      configuration.members.map((m) => (m.id === id ? { ...m, voter: true } : m)),
      `storage node ${id} gets its vote`,
    );
    return this.result(id);
  }

  /** The node that replaces `old`: the one that an earlier run of the command began to add, if there was one. */
  async addInstead(old: string, options: AddOptions): Promise<string> {
    const begun = this.manifest.membership.replacing?.[old];
    const leaving = this.manifest.storageNodes.some((node) => node.id === old);
    if (!this.member(old) && !(begun && leaving)) throw this.noNode(old);
    const id = begun ?? this.chooseId(options.id);
    if (id === old)
      throw new DbError('USAGE_NODE_ID', `storage node ${id} cannot replace itself`, {
        hint: 'A node with a new disk is a new node: leave its name away, or give another one.',
      });
    if (begun === undefined && this.member(id)?.voter)
      throw new DbError(
        'USAGE_NODE_ID',
        `storage node ${id} is a member already: there would be a copy less`,
        {
          hint: `Leave its name away for a new node. To take node ${old} out for good: aurora storage remove ${old}`,
        },
      );
    const zone = options.zone ?? this.member(old)?.zone;
    await this.add({ ...options, id, zone }, old);
    return id;
  }

  async remove(id: string, deleteData: boolean, replaced = false): Promise<ChangeResult> {
    const member = this.member(id);
    const row = this.manifest.storageNodes.find((node) => node.id === id);
    if (!row) throw this.noNode(id);
    if (member) {
      const { configuration } = this.manifest;
      const members = configuration.members.filter((m) => m.id !== id);
      if (members.length === 0) throw new DbError('MEMBER_LAST', `storage node ${id} holds the only copy`);
      if (!this.options.force && !replaced) assertEven(configuration, { members });
      await this.step(members, `storage node ${id} is taken out`);
    } else await this.settled();
    await this.tell();
    const name = storageDaemonName(id);
    if (runningPid(this.layout.run, name) !== null) {
      this.say(`stopping storage node ${id}`);
      if (!(await endDaemon(this.layout.run, name, 'SIGTERM', STOP_MS)))
        await endDaemon(this.layout.run, name, 'SIGKILL', STOP_MS);
    }
    this.manifest.forgetNode(id);
    forgetDaemon(this.layout.run, name);
    if (row.dir === '')
      this.say(`storage node ${id} at ${row.host}:${row.port} can be stopped, and its data deleted`);
    else if (deleteData) rmSync(row.dir, { recursive: true, force: true });
    else this.say(`its data is left in ${row.dir}`);
    return this.result(id);
  }

  private chooseId(wanted: string): string {
    const { members, retired } = this.manifest.membership;
    const taken = [...this.manifest.storageNodes.map((node) => node.id), ...retired];
    if (wanted === 'auto') {
      const joining = members.find(({ voter }) => !voter);
      return joining?.id ?? String(Math.max(0, ...taken.map(Number).filter(Number.isInteger)) + 1);
    }
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/.test(wanted))
      throw new DbError('USAGE_NODE_ID', `"${wanted}" is no name for a storage node`, {
        hint: 'Up to 32 letters, digits, "_", "." and "-".',
      });
    if (retired.includes(wanted))
      throw new DbError(
        'USAGE_NODE_ID',
        `there was a storage node ${wanted} before: names are not given twice`,
        {
          hint: 'Give another name, or none.',
        },
      );
    return wanted;
  }

  private async begin(id: string, options: AddOptions, replaces: string | undefined): Promise<void> {
    const { configuration } = this.manifest;
    const other = configuration.members.find(({ voter }) => !voter);
    if (other)
      throw new DbError('MEMBER_CHANGING', `storage node ${other.id} is being added: one change at a time`, {
        hint: `Finish it with "aurora storage add ${other.id}", or give it up with "aurora storage remove ${other.id}".`,
      });
    const zone = options.zone ?? emptiestZone(configuration);
    const { at } = options;
    if (at) await this.assertServes(id, at);
    const dir = at ? '' : storageDir(this.layout, id);
    const { host, port } = at ?? { host: '127.0.0.1', port: await freePort() };
    const newcomer: Member = { id, host, port, zone, voter: false };
    const members = [...configuration.members, newcomer];
    if (!this.options.force) assertEven(configuration, { members: members.filter((m) => m.id !== replaces) });
    const node: StorageNodeInfo = { id, host, port, dir };
    await this.step(
      members,
      `storage node ${id}${zone === '' ? '' : ` in zone ${zone}`} joins, without a vote yet`,
      {
        node,
        ...(replaces && { replaces }),
        before: () => dir !== '' && mkdirSync(dir, { recursive: true, mode: 0o700 }),
        after: () => this.startIfLocal(id),
      },
    );
  }

  /** Hands out the next generation, tells everybody, and waits until it is settled. */
  private async step(
    members: readonly Member[],
    what: string,
    extra: {
      node?: StorageNodeInfo;
      replaces?: string;
      before?: () => void;
      after?: () => Promise<void>;
    } = {},
  ): Promise<void> {
    await this.settled();
    this.interrupt.check(GO_ON);
    const { configuration } = this.manifest;
    const voters = members.filter(({ voter }) => voter).length;
    const next: Configuration = { generation: configuration.generation + 1, members, ...this.sizes(voters) };
    await this.assertSound(next);
    extra.before?.();
    this.manifest.change(next, extra);
    const { writeQuorum, readQuorum, generation } = next;
    this.say(`${what}: generation ${generation}, ${voters} copies, write quorum ${writeQuorum}, read quorum ${readQuorum}`); // prettier-ignore
    const [before, now] = [zoneTolerance(configuration), zoneTolerance(next)];
    if (before?.keepsDataWithoutAZoneAndOne && !now?.keepsDataWithoutAZoneAndOne)
      this.say('warning: with these copies, a whole zone and one more node may not be lost at once');
    if (before?.writesWithoutAZone && !now?.writesWithoutAZone)
      this.say('warning: with these copies, writes do not go on without a whole zone');
    await extra.after?.();
    await this.settled();
  }

  /** As at initdb, unless the volume was made with other numbers: then a copy more or less changes the write quorum by one. */
  private sizes(voters: number): { writeQuorum: number; readQuorum: number } {
    const { writeQuorum, readQuorum } = this.manifest.configuration;
    const copies = votersOf(this.manifest.configuration).length;
    const usual = defaultQuorum(copies);
    if (copies === voters) return { writeQuorum, readQuorum };
    if (usual.writeQuorum === writeQuorum && usual.readQuorum === readQuorum) return defaultQuorum(voters);
    const write = Math.min(voters, Math.max(Math.floor(voters / 2) + 1, writeQuorum + voters - copies));
    return {
      writeQuorum: write,
      readQuorum: Math.max(1, Math.min(voters, Math.max(readQuorum, voters - write + 1))),
    };
  }

  /** Enough of those that are to vote are there, vote, and keep up. Throws MEMBER_TOO_FEW. */
  private async assertSound(next: Configuration): Promise<void> {
    const { writeQuorum, electQuorum, voters } = quorumOf(next);
    const needed = Math.max(writeQuorum, electQuorum);
    const statuses = await this.ask();
    const commit = Math.max(0, ...[...statuses.values()].map((status) => status.commitLsn));
    const well = voters.filter((id) => {
      const status = statuses.get(id);
      return status?.voter === true && status.scl >= commit - LAG_BYTES;
    });
    if (well.length >= needed) return;
    const missing = voters.filter((id) => !well.includes(id));
    throw new DbError(
      'MEMBER_TOO_FEW',
      `${needed} of the ${voters.length} nodes that would hold the volume must be running, vote and keep up; ${well.length} are (not ${missing.join(', ')})`,
      { reaction: 'usage', hint: 'Look at them with: aurora storage status' },
    );
  }

  /** Waits until a writer has settled the present generation, telling it to all nodes meanwhile. */
  private async settled(): Promise<void> {
    const { generation } = this.manifest.configuration;
    while (this.manifest.membership.settled < generation) {
      const statuses = await this.tell();
      const known = Math.max(0, ...[...statuses.values()].map((status) => status.membership.settled));
      if (known >= generation) this.manifest.setSettled(generation);
      else await this.wait(`waiting for the primary to commit in generation ${generation}`);
    }
  }

  /** Waits until the node has all pages and log, and may vote. */
  private async rebuilt(id: string): Promise<void> {
    for (;;) {
      const statuses = await this.tell();
      const status = statuses.get(id);
      const commit = Math.max(0, ...[...statuses.values()].map(({ commitLsn }) => commitLsn));
      if (status?.voter && status.rebuild === null && status.scl >= commit - LAG_BYTES) return;
      if (!status) {
        await this.startIfLocal(id);
        await this.wait(`storage node ${id} does not answer`);
        continue;
      }
      const state =
        rebuildText(status) ?? nodeProblem(status) ?? `has log up to the last ${commit - status.scl} bytes`;
      await this.wait(`storage node ${id}: ${state}`);
    }
  }

  private async startIfLocal(id: string): Promise<void> {
    const node = this.manifest.storageNodes.find((n) => n.id === id)!;
    if (node.dir === '' || runningPid(this.layout.run, storageDaemonName(id)) !== null) return;
    mkdirSync(node.dir, { recursive: true, mode: 0o700 });
    this.say(`starting storage node ${id}`);
    await startStorageNode(this.layout, this.manifest, this.manifest.volume, node, this.remainingMs());
  }

  /** Tells every node that can be reached what the manifest says. Resolves with what they say of themselves. */
  private async tell(): Promise<Map<string, NodeStatus>> {
    const { configuration, membership } = this.manifest;
    return this.ask((client) => client.configure({ configuration, settled: membership.settled }, ASK_MS));
  }

  private async ask(before?: (client: StorageClient) => Promise<unknown>): Promise<Map<string, NodeStatus>> {
    const { storageNodes } = this.manifest;
    const statuses = new Map<string, NodeStatus>();
    let lastError: unknown = null;
    const one = async (node: StorageNodeInfo): Promise<void> => {
      const known = this.clients.get(node.id);
      const client = known?.isOpen ? known : await this.connect(node);
      this.clients.set(node.id, client);
      await before?.(client);
      statuses.set(node.id, await client.status(ASK_MS));
    };
    for (const result of await Promise.allSettled(storageNodes.map(one)))
      if (result.status === 'rejected') lastError = result.reason;
    if (statuses.size === 0)
      throw new DbError('CLUSTER_NOT_RUNNING', 'not one storage node of the cluster answers', {
        cause: lastError,
        hint: 'Start the cluster first, with: aurora start',
      });
    return statuses;
  }

  private connect(node: { id: string; host: string; port: number }): Promise<StorageClient> {
    return StorageClient.connect(node, {
      ...this.access,
      clientId: 'storage',
      nodeId: node.id,
      connectTimeoutMs: ASK_MS,
    });
  }

  private async assertServes(id: string, at: { host: string; port: number }): Promise<void> {
    const client = await this.connect({ id, ...at });
    client.close();
  }

  private member(id: string): Member | undefined {
    return this.manifest.configuration.members.find((member) => member.id === id);
  }

  private noNode(id: string): DbError {
    const known = this.manifest.storageNodes.map((node) => node.id).join(', ');
    return new DbError('USAGE_NO_NODE', `there is no storage node ${id}`, { hint: `There are ${known}.` });
  }

  private remainingMs(): number {
    return Math.max(1000, this.deadline - Date.now());
  }

  /** Says what it waits for when that is new, or was said long ago. Throws CLUSTER_TIMEOUT. */
  private async wait(what: string): Promise<void> {
    if (Date.now() > this.deadline)
      throw new DbError('CLUSTER_TIMEOUT', `not done in time: ${what}`, {
        hint: GO_ON,
      });
    this.interrupt.check(GO_ON);
    const form = (line: string): string => line.replaceAll(/\d+/g, '#');
    const isSame = what === this.saidLast;
    const pauseMs = isSame ? REPEAT_MS : form(what) === form(this.saidLast) ? PROGRESS_MS : 0;
    if (Date.now() - this.saidAt >= pauseMs) this.say(what);
    await sleep(ROUND_MS);
  }

  private say(line: string): void {
    this.saidLast = line;
    this.saidAt = Date.now();
    this.options.progress?.(line);
  }
}
