import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { BaseImage } from '../engine/pages/base.js';
import { imageCrc, judge, PageScrub, runText, type ScrubRun, type RunDigest } from '../engine/pages/scrub.js';
import type { PageStore } from '../engine/pages/store.js';
import type { ScrubFinding, ScrubStatus } from '../net/node-status.js';
import type { Peers } from './peers.js';

export interface ScrubConfig {
  enabled: boolean;
  /** Between two passes over the log. */
  intervalMs: number;
  /** Between two passes over the pages. */
  pagesIntervalMs: number;
  /** Share of the node's thread that a pass over the pages may take, in percent. */
  dutyPercent: number;
  /** Pages compared at a time. */
  batchPages: number;
}

export interface ScrubParts {
  nodeId: string;
  pages: PageStore;
  peers: () => Peers;
  /** Copies of the volume. */
  voters: number;
  /** The pages are whole and may be read. */
  ready(): boolean;
  /** Takes a lease of our own on history. */
  hold(name: string, at: Lsn, release: boolean): void;
  /** A page was replaced: nothing that was kept of it in memory may be used. */
  onReplaced(): void;
  /** More is wrong than single pages. */
  onDamage(why: string): void;
}

/** As it was when it was chosen: a connection that is lost later fails its requests. */
type ReadyPeer = Pick<Peers['connected'][number], 'id' | 'client' | 'status'>;

/** Pages built before other work gets its turn. */
const PAGES_PER_TURN = 32;
const VERIFY_BYTES = 512 * 1024;
const VERIFY_FROM = Buffer.from([0]);
const VERIFY_TO = Buffer.from([0xff]);
const FINDINGS_MAX = 20;
/** Below what a node takes at once from one connection. */
const GROUP_RUNS_MAX = 64;
const ASK_MS = 30_000;
/** Peers that are not there are waited for so long in one pass. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 500;
/** A lease is moved on with every run, but told at most this often. */
const LEASE_MS = 1000;

/**
 * The page scrub of one node. A pass first reads the whole store, which checks every block and file of RocksDB; then it compares each page with the peers', all as of one LSN,
 * which catches what has a right checksum and is wrong. What the majority of the volume's nodes says differently is put right here; each
 * node looks after its own pages. Without a majority nothing is changed, and it is said aloud.
 */
export class ScrubService {
  readonly status: ScrubStatus = {
    state: 'idle',
    passes: 0,
    lastPassAt: null,
    pagesCompared: 0,
    pagesDiffering: 0,
    pagesRepaired: 0,
    pagesDisputed: 0,
    bytesVerified: 0,
    disputed: [],
    findings: [],
    lastError: null,
  };
  private readonly scrub: PageScrub;
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private leasedAtMs = -Infinity;
  /** On the node's thread, for peers too. */
  private busyMs = 0;
  private readonly leaseName: string;

  constructor(
    private readonly parts: ScrubParts,
    private readonly config: ScrubConfig,
    private readonly logger: Logger,
  ) {
    this.scrub = new PageScrub(parts.pages);
    this.leaseName = `scrub of node ${parts.nodeId}`;
    if (!config.enabled) this.status.state = 'off';
  }

  start(): void {
    if (this.config.enabled) this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** For a peer that compares. */
  async digest(run: ScrubRun, at: Lsn): Promise<RunDigest> {
    const crcs = new Uint32Array(run.count);
    const unreadable = new Set<number>();
    for (let done = 0; done < run.count; done += PAGES_PER_TURN) {
      if (done > 0) await turn();
      const count = Math.min(PAGES_PER_TURN, run.count - done);
      const begun = performance.now();
      const part = this.scrub.digest({ ...run, first: run.first + done, count }, at);
      this.busyMs += performance.now() - begun;
      crcs.set(part.crcs, done);
      for (const blkno of part.unreadable) unreadable.add(blkno);
    }
    return { crcs, unreadable };
  }

  rows(at: Lsn): { rows: number; crc: number } {
    return this.scrub.rows(at);
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (await this.pause(this.config.pagesIntervalMs)) {
      try {
        if (!this.parts.ready()) continue;
        this.status.state = 'running';
        await this.pass();
        this.status.passes += 1;
        this.status.lastPassAt = new Date().toISOString();
        this.status.lastError = null;
      } catch (err) {
        if (signal.aborted) return;
        // A peer's, or a moment's, or a damage that is being seen to: the next pass begins anew.
        this.status.lastError = errorMessage(err);
        this.logger.warn({ err }, `scrub: ${this.status.lastError}`);
      } finally {
        this.status.state = 'idle';
        await this.release();
      }
    }
  }

  private async pass(): Promise<void> {
    const begun = performance.now();
    const before = { ...this.status };
    const passBegun = new Date().toISOString();
    await this.verifyStore();
    const first = await this.common();
    await this.compareRows(first);
    for (const group of groups(this.scrub.runs(first.at, this.config.batchPages), this.config.batchPages)) {
      if (this.stopping.signal.aborted) return;
      const now = await this.common();
      const runs = group.flatMap((run) => this.scrub.clip(run, now.at) ?? []);
      const busyBefore = this.busyMs;
      await Promise.all(runs.map((run) => this.compare(run, now)));
      await this.rest(this.busyMs - busyBefore);
    }
    // What was not met any more does not exist any more.
    this.status.disputed = this.status.disputed.filter((finding) => finding.at >= passBegun);
    this.logger.info(
      {
        pages: this.status.pagesCompared - before.pagesCompared,
        differing: this.status.pagesDiffering - before.pagesDiffering,
        repaired: this.status.pagesRepaired - before.pagesRepaired,
        bytes: this.status.bytesVerified - before.bytesVerified,
        tookMs: Math.round(performance.now() - begun),
      },
      'pages scrubbed',
    );
  }

  /** Reads all that the store holds: RocksDB checks each block. Damage is told by the store itself. */
  private async verifyStore(): Promise<void> {
    let from: Buffer | null = VERIFY_FROM;
    while (from && !this.stopping.signal.aborted) {
      const begun = performance.now();
      const { next, bytes }: { next: Buffer | null; bytes: number } = this.parts.pages.parts.db.verify(
        from,
        VERIFY_TO,
        VERIFY_BYTES,
      );
      this.status.bytesVerified += bytes;
      from = next;
      await this.rest(performance.now() - begun);
    }
  }

  /** Peers to compare with, and the newest LSN that all of them and we have applied and none has given up. Waits for them for a while. */
  private async common(): Promise<{ at: Lsn; peers: ReadyPeer[] }> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      if (!this.parts.ready()) throw new DbError('SCRUB_NOT_NOW', 'the pages of this node are being made anew', { reaction: 'retry' }); // prettier-ignore
      const { appliedLsn, horizon } = this.parts.pages;
      const able = this.parts
        .peers()
        .connected.filter(
          ({ status: s }) => s.rebuild === null && s.state !== 'draining' && s.appliedLsn >= horizon,
        );
      const at = lsn(Math.min(appliedLsn, ...able.map(({ status }) => status.appliedLsn)));
      const peers = able
        .filter(({ status }) => status.gcLsn <= at)
        .map(({ id, client, status }): ReadyPeer => ({ id, client, status }));
      if (peers.length > 0) {
        await this.hold(at, peers);
        return { at, peers };
      }
      if (performance.now() > deadline)
        throw new DbError('SCRUB_NO_PEER', 'no peer is there to compare pages with', { reaction: 'retry' });
      this.status.state = 'waiting';
      if (!(await this.pause(RETRY_MS))) throw new DbError('NODE_STOPPING', 'this node is stopping');
      this.status.state = 'running';
    }
  }

  private async compareRows({ at, peers }: { at: Lsn; peers: ReadyPeer[] }): Promise<void> {
    const theirs = await answers(peers, ({ client }) => client.rowsDigest({ lsn: at }, ASK_MS));
    const own = this.scrub.rows(at);
    const text = ({ rows, crc }: { rows: number; crc: number }): string =>
      `${rows} rows, ${crc.toString(16)}`;
    const verdict = judge([own.crc, ...theirs.map(({ value }) => value.crc)], this.majority);
    this.settle('relations and facts');
    if (verdict.kind === 'equal') return;
    const nodes = [this.parts.nodeId, ...theirs.map(({ peer }) => peer.id)];
    const words = `the lists of relations and facts as of ${formatLsn(at)} differ: ${[own, ...theirs.map(({ value }) => value)].map((d, i) => `node ${nodes[i]} ${text(d)}`).join('; ')}`;
    this.logger.error({ lsn: formatLsn(at) }, `scrub: ${words}`);
    const wrong = verdict.kind === 'wrong' && verdict.nodes.includes(0);
    this.found({ what: 'relations and facts', lsn: at, nodes: verdict.kind === 'wrong' ? verdict.nodes.map((i) => nodes[i]!) : nodes, verdict: wrong ? 'rebuilt' : verdict.kind === 'disputed' ? 'disputed' : 'theirs' }); // prettier-ignore
    if (wrong) {
      this.parts.onDamage(words);
      throw new DbError('SCRUB_ROWS_DIFFER', words, { reaction: 'corrupt' });
    }
  }

  private async compare(run: ScrubRun, { at, peers }: { at: Lsn; peers: ReadyPeer[] }): Promise<void> {
    const asked = answers(peers, ({ client }) => client.pageDigests(run, at, ASK_MS));
    const own = await this.digest(run, at);
    const theirs = await asked;
    if (theirs.length === 0) throw new DbError('SCRUB_NO_PEER', 'no peer answered', { reaction: 'retry' });
    this.status.pagesCompared += run.count;
    const all = [own, ...theirs.map(({ value }) => value)];
    for (let i = 0; i < run.count; i++) {
      const blkno = run.first + i;
      const crcs = all.map(({ crcs: of, unreadable }) => (unreadable.has(blkno) ? null : of[i]!));
      const verdict = judge(crcs, this.majority);
      if (this.status.disputed.length > 0) this.settle(runText(run, blkno));
      if (verdict.kind === 'equal') continue;
      this.status.pagesDiffering += 1;
      const nodes = [this.parts.nodeId, ...theirs.map(({ peer }) => peer.id)];
      const said = crcs.map((crc, n) => `node ${nodes[n]} ${crc === null ? 'cannot build it' : `has ${crc.toString(16)}`}`); // prettier-ignore
      const page = `${runText(run, blkno)} as of ${formatLsn(at)}`;
      const note = (wrong: readonly number[], word: ScrubFinding['verdict']): void =>
        this.found({ what: runText(run, blkno), lsn: at, nodes: wrong.map((n) => nodes[n]!), verdict: word });
      if (verdict.kind === 'disputed') {
        this.status.pagesDisputed += 1;
        this.logger.error({ page, said }, `scrub: ${page} differs between nodes, and no majority tells which is right: ${said.join(', ')}; nothing is changed`); // prettier-ignore
        note(crcs.map((_, n) => n), 'disputed'); // prettier-ignore
      } else if (!verdict.nodes.includes(0)) {
        this.logger.warn({ page, said }, `scrub: ${page} is wrong on node ${verdict.nodes.map((n) => nodes[n]).join(', ')}`); // prettier-ignore
        note(verdict.nodes, 'theirs');
      } else {
        this.logger.error({ page, said }, `scrub: ${page} is wrong on this node, ${nodes[0]}: ${said.join(', ')}`); // prettier-ignore
        await this.repair(run, blkno, at, theirs[verdict.right - 1]!.peer, crcs[verdict.right]!);
        note([0], 'repaired');
      }
    }
  }

  /** Takes the page from one of the majority. Throws when what comes is not what that said, or does not make the page right. */
  private async repair(run: ScrubRun, blkno: number, at: Lsn, peer: ReadyPeer, crc: number): Promise<void> {
    const one: ScrubRun = { ...run, first: blkno, count: 1 };
    const [found] = await fetchPage(peer, one, at);
    const image = found ?? { blkno, version: lsn(0), image: Buffer.alloc(0) };
    if (image.blkno !== blkno || image.version > at || imageCrc(image.image) !== crc)
      throw new DbError('SCRUB_BAD_PAGE', `node ${peer.id} gave another ${runText(run, blkno)} than it has`, {
        reaction: 'retry',
      });
    this.scrub.replace(run, image, at);
    this.parts.onReplaced();
    if (this.scrub.digest(one, at).crcs[0] !== crc)
      throw new DbError('SCRUB_BAD_PAGE', `${runText(run, blkno)} was not put right`, { reaction: 'bug' });
    this.status.pagesRepaired += 1;
    this.logger.warn({ peer: peer.id }, `scrub: ${runText(run, blkno)} as of ${formatLsn(at)} is repaired from node ${peer.id}`); // prettier-ignore
  }

  private get majority(): number {
    return Math.floor(this.parts.voters / 2) + 1;
  }

  private found(made: Omit<ScrubFinding, 'at'>): void {
    const finding: ScrubFinding = { ...made, at: new Date().toISOString() };
    if (made.verdict === 'disputed')
      this.status.disputed = [finding, ...this.status.disputed].slice(0, FINDINGS_MAX);
    this.status.findings = [finding, ...this.status.findings].slice(0, FINDINGS_MAX); // prettier-ignore
  }

  /** What was in dispute about a page is judged anew. */
  private settle(what: string): void {
    this.status.disputed = this.status.disputed.filter((finding) => finding.what !== what);
  }

  /** All keep what is read at `at`. */
  private async hold(at: Lsn, peers: readonly ReadyPeer[]): Promise<void> {
    if (performance.now() - this.leasedAtMs < LEASE_MS) return;
    this.leasedAtMs = performance.now();
    this.parts.hold(this.leaseName, at, false);
    await Promise.allSettled(
      peers.map(({ client }) => client.renewLease({ name: this.leaseName, lsn: at }, ASK_MS)),
    );
  }

  private async release(): Promise<void> {
    if (this.leasedAtMs === -Infinity) return;
    this.leasedAtMs = -Infinity;
    this.parts.hold(this.leaseName, lsn(0), true);
    await Promise.allSettled(
      this.parts.peers().connected.map(({ client }) => client.releaseLease(this.leaseName, ASK_MS)),
    );
  }

  private async rest(workedMs: number): Promise<void> {
    await this.pause(workedMs * (100 / this.config.dutyPercent - 1));
  }

  /** False when the node is stopping. */
  private pause(ms: number): Promise<boolean> {
    return sleep(ms, true, { signal: this.stopping.signal }).catch(() => false);
  }
}

/** Runs that are compared together: of about so many pages. Most relations are small, and each question is a round trip. */
function* groups(runs: readonly ScrubRun[], pagesMax: number): Generator<ScrubRun[]> {
  let group: ScrubRun[] = [];
  let pages = 0;
  for (const run of runs) {
    if (group.length === GROUP_RUNS_MAX || (pages > 0 && pages + run.count > pagesMax)) {
      yield group;
      group = [];
      pages = 0;
    }
    group.push(run);
    pages += run.count;
  }
  if (group.length > 0) yield group;
}

/** Of those who answered. */
async function answers<T>(
  peers: readonly ReadyPeer[],
  ask: (peer: ReadyPeer) => Promise<T>,
): Promise<{ peer: ReadyPeer; value: T }[]> {
  const results = await Promise.allSettled(peers.map(ask));
  return results.flatMap((result, i) =>
    result.status === 'fulfilled' ? [{ peer: peers[i]!, value: result.value }] : [],
  );
}

function fetchPage({ client }: ReadyPeer, run: ScrubRun, at: Lsn): Promise<BaseImage[]> {
  const { first: blkno, count } = run;
  if (run.kind === 'slru') return client.baseSlruPages({ slru: run.slru, blkno, count, lsn: at }, ASK_MS);
  return client.basePages({ ...run.rel, fork: run.fork, blkno, count, lsn: at }, ASK_MS);
}
