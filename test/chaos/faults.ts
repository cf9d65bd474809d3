/** The faults of the matrix: how each comes over a party of a running cluster, how long it stays, and how it goes away. */
import {
  closeSync,
  existsSync,
  openSync,
  promises as fs,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gone } from '../../src/cluster/daemon-process.js';
import { daemonLog } from '../../src/cluster/layout.js';
import { storageDaemonName } from '../../src/cluster/start.js';
import { eventually } from '../helpers/cluster.js';
import { PRIMARY, signalIfThere, type ChaosCluster } from './cluster.js';
import type { FaultIo } from './fault-io.js';
import type { Random } from './random.js';

/** What a fault works with. `tell` writes the round's schedule. */
export interface FaultContext {
  readonly cluster: ChaosCluster;
  readonly random: Random;
  /** Shorter holds, for the short form of the matrix. */
  readonly short: boolean;
  tell(what: string): void;
}

export type Target = 'one node' | 'two nodes in turn' | 'primary' | 'all at once';
export const TARGETS: readonly Target[] = ['one node', 'two nodes in turn', 'primary', 'all at once'];

export interface Fault {
  readonly name: string;
  /** Targets that make no sense, and why. */
  readonly without: Partial<Record<Target, string>>;
  /** 'all at once' is all storage nodes, and the primary too unless this says otherwise. */
  readonly sparesPrimary?: boolean;
  /** Whether the party does not work while the fault is there. */
  readonly takesDown: boolean;
  /** Whether clients may lose their connections when it hits the primary. */
  readonly endsSessions: boolean;
  /** Only words like these count as its detection: a node may be stopped to bring the fault about. Null: any. */
  readonly namedBy: RegExp | null;
  begin(context: FaultContext, party: string): Promise<void>;
  /** Returns when the fault has been there long enough, and has shown that it bites. */
  hold(context: FaultContext, parties: readonly string[]): Promise<void>;
  /** Nodes first, the primary last. */
  end(context: FaultContext, party: string): Promise<void>;
}

const isNode = (party: string): boolean => party !== PRIMARY;

async function kill({ cluster }: FaultContext, party: string): Promise<void> {
  const pids = cluster.pidsOf(party);
  for (const pid of pids) signalIfThere(pid, 'SIGKILL');
  for (const pid of pids)
    if (!(await gone(pid, 20_000))) throw new Error(`pid ${pid} of ${party} does not die`);
}

async function start({ cluster }: FaultContext, party: string): Promise<void> {
  await (party === PRIMARY ? cluster.startPrimary() : cluster.startNode(party));
}

async function pause(context: FaultContext, longMs: number, shortMs: number): Promise<void> {
  const ms = context.short ? shortMs : longMs;
  context.tell(`hold ${ms} ms`);
  await sleep(ms);
}

/** Until the fault has met each of them; where only `enough` of them are met, the others have nothing to do any more. */
async function bitten(
  { cluster }: FaultContext,
  parties: readonly string[],
  met: (bites: ReturnType<FaultIo['bites']>) => boolean,
  enough = parties.length,
): Promise<void> {
  await eventually(
    `${enough} of ${parties.join(', ')} meet the fault`,
    () => parties.filter((party) => met(cluster.faultsOf(party).bites())).length >= enough,
  );
}

const killed: Fault = {
  name: 'kill -9',
  without: {},
  takesDown: true,
  endsSessions: true,
  namedBy: null,
  begin: kill,
  hold: (context) => pause(context, context.random.between(500, 3000), 500),
  end: start,
};

const stopped: Fault = {
  name: 'SIGSTOP 10 s',
  without: {},
  takesDown: true,
  endsSessions: false,
  namedBy: null,
  async begin({ cluster }, party) {
    for (const pid of cluster.pidsOf(party)) signalIfThere(pid, 'SIGSTOP');
  },
  hold: (context) => pause(context, 10_000, 2000),
  async end({ cluster }, party) {
    for (const pid of cluster.pidsOf(party).reverse()) signalIfThere(pid, 'SIGCONT');
  },
};

const partitioned: Fault = {
  name: 'partition',
  without: {},
  takesDown: true,
  endsSessions: false,
  namedBy: null,
  async begin({ cluster }, party) {
    const before = cluster.net.bites;
    cluster.net.between(party, cluster.parties, 'drop');
    await cluster.net.hasBitten(before);
  },
  // Longer than any side keeps a silent connection (15 s), or well within.
  hold: (context) =>
    pause(context, context.random.below(2) === 0 ? 17_000 : context.random.between(4000, 12_000), 2500),
  async end({ cluster }, party) {
    cluster.net.between(party, cluster.parties, 'pass');
  },
};

const wiped: Fault = {
  name: 'wiped disk',
  without: { 'all at once': 'no copy of the volume is left: that is its end, and what backups are for' },
  takesDown: true,
  endsSessions: true,
  namedBy: null,
  async begin(context, party) {
    await kill(context, party);
    const dir = context.cluster.dirOf(party);
    for (const name of readdirSync(dir)) await fs.rm(path.join(dir, name), { recursive: true });
  },
  hold: (context) => pause(context, context.random.between(500, 2000), 500),
  end: start,
};

const full: Fault = {
  name: 'full disk',
  without: {},
  sparesPrimary: true,
  takesDown: true,
  endsSessions: true,
  namedBy: null,
  async begin(context, party) {
    const room = context.random.below(256 * 1024);
    // As with a quota, half of the time nobody is told before it is too late.
    const untold = context.random.below(2) === 0 ? 'untold' : undefined;
    context.tell(`${party}: ${room} bytes left${untold ? ', which free space does not show' : ''}`);
    context.cluster.faultsOf(party).setRoom(room, untold);
  },
  async hold(context, parties) {
    // Who heeds the free space does not come to be refused.
    const met = ({ writesRefused, roomTold }: ReturnType<FaultIo['bites']>): boolean =>
      writesRefused > 0 || roomTold > 0;
    // Without a write quorum nothing is written any more.
    await bitten(context, parties, met, Math.min(parties.length, 2));
    await pause(context, context.random.between(3000, 6000), 2000);
  },
  async end({ cluster }, party) {
    cluster.faultsOf(party).setRoom(null);
    // A daemon that gave up is started again by whoever supervises it, as soon as there is room.
    if (party === PRIMARY ? cluster.base.computePid() === null : cluster.base.storagePid(party) === null)
      await (party === PRIMARY ? cluster.startPrimary() : cluster.startNode(party));
  },
};

const slow: Fault = {
  name: 'slow disk',
  without: { primary: 'a compute syncs nothing: its disk is a cache (fsync = off)' },
  sparesPrimary: true,
  takesDown: false,
  endsSessions: false,
  namedBy: /slow disk/,
  async begin(context, party) {
    const ms = context.random.between(200, 500);
    context.tell(`${party}: ${ms} ms a sync`);
    context.cluster.faultsOf(party).setSyncDelay(ms);
  },
  async hold(context, parties) {
    await bitten(context, parties, ({ syncsDelayed }) => syncsDelayed > 0);
    await pause(context, 8000, 2500);
  },
  async end({ cluster }, party) {
    cluster.faultsOf(party).setSyncDelay(0);
  },
};

const clock: Fault = {
  name: 'clock jump',
  without: {},
  takesDown: false,
  endsSessions: false,
  namedBy: null,
  async begin(context, party) {
    jump(context, party);
  },
  async hold(context, parties) {
    await bitten(context, parties, ({ clockReads }) => clockReads > 0);
    await pause(context, 4000, 1500);
    for (const party of parties) jump(context, party);
    await pause(context, 4000, 1500);
  },
  async end({ cluster }, party) {
    cluster.faultsOf(party).setClock(0);
  },
};

function jump({ cluster, random, tell }: FaultContext, party: string): void {
  const minutes = random.between(1, 24 * 60) * (random.below(2) === 0 ? 1 : -1);
  tell(`${party}: clock ${minutes > 0 ? '+' : ''}${minutes} min`);
  cluster.faultsOf(party).setClock(minutes * 60_000);
}

/** Until each node's log says so. */
async function found({ cluster }: FaultContext, parties: readonly string[], words: RegExp): Promise<void> {
  for (const party of parties)
    await eventually(`node ${party} finds its damage`, () =>
      words.test(readFileSync(daemonLog(cluster.base.layout, storageDaemonName(party)), 'utf8')),
    );
}

const NO_CHECKSUMS = 'its pages carry no checksums and nobody keeps them: the cache goes with the next start';

/** In a running node, found by its scrub, or in a stopped one, found when it starts. */
const flippedLog: Fault = {
  name: 'bit flip, log',
  without: { primary: NO_CHECKSUMS },
  sparesPrimary: true,
  takesDown: false,
  endsSessions: false,
  namedBy: /damage|corrupt|checksum|rebuilt|copying|scrub/i,
  async begin(context, party) {
    const { cluster, random, tell } = context;
    const stopFirst = random.below(2) === 0;
    if (stopFirst) await kill(context, party);
    // Away from where the other nodes lose theirs: no two copies of the same log are hit.
    const share = (cluster.nodeIds.indexOf(party) + random.next() * 0.5) / cluster.nodeIds.length;
    const files = filesIn(path.join(cluster.dirOf(party), 'log'), '.log');
    const where = flipBit(files, share, random);
    tell(`${party}: ${where}${stopFirst ? ', stopped' : ', running'}`);
    if (stopFirst) await start(context, party);
  },
  hold: (context, parties) => found(context, parties, /damaged log/),
  end: async () => undefined,
};

const flippedPages: Fault = {
  name: 'bit flip, pages',
  without: { primary: NO_CHECKSUMS },
  sparesPrimary: true,
  takesDown: false,
  endsSessions: false,
  namedBy: /damage|corrupt|checksum|rebuilt|copying|scrub/i,
  async begin(context, party) {
    const { cluster, random, tell } = context;
    await kill(context, party);
    const files = filesIn(path.join(cluster.dirOf(party), 'pages'), '.sst');
    const share = (cluster.nodeIds.indexOf(party) + random.next() * 0.5) / cluster.nodeIds.length;
    tell(`${party}: ${flipBit(files, share, random)}, stopped`);
    await start(context, party);
  },
  hold: (context, parties) => found(context, parties, /damaged|corrupt/i),
  end: async () => undefined,
};

export const FAULTS: readonly Fault[] = [
  killed,
  stopped,
  partitioned,
  wiped,
  full,
  slow,
  flippedLog,
  flippedPages,
  clock,
];

function filesIn(dir: string, extension: string): string[] {
  return existsSync(dir)
    ? readdirSync(dir)
        .filter((name) => name.endsWith(extension))
        .sort()
        .map((name) => path.join(dir, name))
    : [];
}

/** Flips one bit at `share` of all the files' bytes. Says where. */
function flipBit(files: readonly string[], share: number, random: Random): string {
  const sizes = files.map((file) => statSync(file).size);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  let offset = Math.floor(bytes * share);
  let at = 0;
  while (at < files.length - 1 && offset >= sizes[at]!) offset -= sizes[at++]!;
  const file = files[at]!;
  const fd = openSync(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    if (readSync(fd, byte, 0, 1, offset) !== 1) throw new Error(`nothing to flip in ${file}`);
    byte[0]! ^= 1 << random.below(8);
    writeSync(fd, byte, 0, 1, offset);
  } finally {
    closeSync(fd);
  }
  return `a bit flipped in ${path.basename(file)} at ${offset}`;
}

/** The parties that a target hits, one group after the other. */
export function groupsOf(target: Target, fault: Fault, cluster: ChaosCluster, random: Random): string[][] {
  const nodes = random.shuffle(cluster.nodeIds);
  if (target === 'one node') return [[nodes[0]!]];
  if (target === 'two nodes in turn') return [[nodes[0]!], [nodes[1]!]];
  if (target === 'primary') return [[PRIMARY]];
  return [fault.sparesPrimary ? cluster.nodeIds : cluster.parties];
}

/** Whether a write quorum of 3 nodes and the primary work while the group is hit. */
export function worksDuring(group: readonly string[], fault: Fault): boolean {
  return !fault.takesDown || (group.filter(isNode).length <= 1 && !group.includes(PRIMARY));
}
