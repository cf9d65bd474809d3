/** Pages of the volume as the base of a verification: of a stopped node's page store, or of the running nodes over the network. */
import { parseControlFile, type ControlFile, type ControlState } from '../engine/control/index.js';
import { DbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { BLCKSZ } from '../engine/page/constants.js';
import { vmBlockOf } from '../engine/page/vm.js';
import type { PageStore } from '../engine/pages/store.js';
import type { RelationFork } from '../engine/pages/types.js';
import { assertReplayable, implicitVmClears } from '../engine/redo/index.js';
import {
  fileEffects,
  forkKey,
  type BasePages,
  type Database,
  type ForkLocator,
} from '../engine/verify/index.js';
import { WalReader, type WalSource } from '../engine/wal/reader.js';
import { ForkNumber, type RelFileLocator, type WalRecord } from '../engine/wal/types.js';
import { openStoppedStore } from './stopped-store.js';
import { redoContextOf, type VerifyBase } from './verify-base.js';
import type { VolumeTool } from './volume.js';

/** Blocks asked for at once. */
const RUN = 64;
/** Requests under way at once. */
const PARALLEL = 8;

/** Sizes and lists of the forks of a manifest. */
class ForkSizes {
  private readonly sizes = new Map<string, number>();

  constructor(private readonly relations: readonly RelationFork[]) {
    for (const rel of relations) this.sizes.set(forkKey(rel, rel.fork), rel.nblocks);
  }

  size(rel: RelFileLocator, fork: number): number | null {
    return this.sizes.get(forkKey(rel, fork)) ?? null;
  }

  list({ spcOid, dbOid }: Database): ForkLocator[] {
    return this.relations.filter((rel) => rel.spcOid === spcOid && rel.dbOid === dbOid);
  }
}

/** Start of the checkpoint record that the imported cluster ended with: the volume's pages begin at its end. */
function importCheckpoint(state: ControlState): Lsn {
  return controlFile(state).checkpointLsn;
}

function controlFile(state: ControlState): ControlFile {
  return parseControlFile(Buffer.from(state.controlImage, 'base64'));
}

/**
 * Where replay can begin: with the first record at or after `start` whose predecessors are all in the volume's pages. Null when the log has none.
 * Pages are to be read as of this LSN; it may lie between the end of a record and the start of the next.
 */
async function beginning(
  source: WalSource,
  start: Lsn | undefined,
  state: ControlState,
): Promise<Lsn | null> {
  const imported = importCheckpoint(state);
  const from = Math.max(start ?? 0, imported, source.start) as Lsn;
  for await (const rec of new WalReader(source, { start: from }).records())
    return rec.startLsn === imported ? rec.endLsn : rec.startLsn;
  return null;
}

function baseOf(state: ControlState, from: Lsn, where: string): Omit<VerifyBase, 'pages' | 'close'> {
  return {
    from,
    systemIdentifier: state.systemIdentifier,
    redo: redoContextOf(controlFile(state)),
    name: `pages of ${where} as of LSN ${formatLsn(from)}`,
  };
}

/**
 * The page store of the node in `dir` as of `start`, or of where its pages begin when that is later. A string says why there is no base: the
 * node runs, has no pages, or has not applied that far.
 */
export async function openNodeBase(
  dir: string,
  source: WalSource,
  start: Lsn | undefined,
): Promise<VerifyBase | string> {
  const opened = await openStoppedStore(dir);
  if (typeof opened === 'string') return opened;
  const { store, close } = opened;
  try {
    const state = store.controlSnapshot(store.appliedLsn)?.state;
    const at = state && (await beginning(source, start, state));
    if (state && at !== null && at !== undefined && at <= store.appliedLsn)
      return { ...baseOf(state, at, `storage node ${dir}`), pages: storePages(store, at), close };
    const reach = formatLsn(store.appliedLsn);
    await close();
    return `the pages in ${dir} reach LSN ${reach} only`;
  } catch (err) {
    await close();
    throw err;
  }
}

function storePages(store: PageStore, at: Lsn): BasePages {
  const sizes = new ForkSizes(store.manifest(at).relations);
  return {
    size: (rel, fork) => sizes.size(rel, fork),
    list: (database) => sizes.list(database),
    read: (rel, fork, blkno) => store.getPage({ ...locatorOf(rel), fork, blkno }, at),
  };
}

/** The running nodes' pages as of `start`, fetched ahead of the records that need them. */
export async function openVolumeBase(
  volume: VolumeTool,
  source: WalSource,
  start: Lsn | undefined,
): Promise<VerifyBase | string> {
  const state = await volume.ask(async (client) => {
    const { recordEnd } = await client.logTail();
    return client.controlState({ lsn: recordEnd });
  });
  const at = await beginning(source, start, state);
  if (at === null) return 'the log ends before its first record';
  const { relations } = await volume.ask((client) => client.manifest({ lsn: at }));
  const pages = new FetchedPages(volume, at, relations);
  return {
    ...baseOf(state, at, `cluster ${volume.root}`),
    pages,
    prepare: (records) => pages.prepare(records),
    close: async () => undefined, // the volume is closed with its log
  };
}

class FetchedPages extends ForkSizes implements BasePages {
  /** By fork and block. A page that replay has taken is changed here too, but never asked for again. */
  private readonly fetched = new Map<string, Buffer>();

  constructor(
    private readonly volume: VolumeTool,
    private readonly at: Lsn,
    relations: readonly RelationFork[],
  ) {
    super(relations);
  }

  read(rel: RelFileLocator, fork: number, blkno: number): Buffer {
    const page = this.fetched.get(`${forkKey(rel, fork)}:${blkno}`);
    if (page) return page;
    throw new Error(`block ${blkno} of ${forkKey(rel, fork)} was not fetched`);
  }

  async prepare(records: readonly WalRecord[]): Promise<void> {
    const runs = this.runs(records);
    const next = async (): Promise<void> => {
      for (let run = runs.pop(); run !== undefined; run = runs.pop()) await this.fetch(run);
    };
    await Promise.all(Array.from({ length: PARALLEL }, next));
  }

  private async fetch(run: Run): Promise<void> {
    const { fork, blkno, count } = run;
    const bytes = await this.volume.ask((client) => client.getPages({ ...run, lsn: this.at }));
    for (let i = 0; i < count; i++)
      this.fetched.set(
        `${forkKey(run, fork)}:${blkno + i}`,
        Buffer.from(bytes.subarray(i * BLCKSZ, (i + 1) * BLCKSZ)),
      );
  }

  /** What the records will read and is not here, neighbours together. */
  private runs(records: readonly WalRecord[]): Run[] {
    const wanted = new Map<string, { fork: ForkLocator; blocks: Set<number> }>();
    const want = (rel: RelFileLocator, fork: number, blkno: number): void => {
      const key = forkKey(rel, fork);
      if (blkno >= (this.size(rel, fork) ?? 0) || this.fetched.has(`${key}:${blkno}`)) return;
      const entry = wanted.get(key) ?? { fork: { ...locatorOf(rel), fork }, blocks: new Set<number>() };
      entry.blocks.add(blkno);
      wanted.set(key, entry);
    };
    for (const rec of records) this.eachRead(rec, want);
    const runs: Run[] = [];
    for (const { fork, blocks } of wanted.values()) {
      let run: Run | null = null;
      for (const blkno of [...blocks].sort((a, b) => a - b)) {
        if (run !== null && blkno === run.blkno + run.count && run.count < RUN) run.count++;
        else runs.push((run = { ...fork, blkno, count: 1 }));
      }
    }
    return runs;
  }

  private eachRead(rec: WalRecord, want: (rel: RelFileLocator, fork: number, blkno: number) => void): void {
    for (const block of rec.blocks) want(block, block.fork, block.blkno);
    try {
      assertReplayable(rec);
      for (const { rel, heapBlk } of implicitVmClears(rec)) want(rel, ForkNumber.vm, vmBlockOf(heapBlk));
      for (const effect of fileEffects(rec)) {
        if (effect.kind === 'vmTruncate') want(effect.rel, ForkNumber.vm, vmBlockOf(effect.nHeapBlocks));
        if (effect.kind !== 'dbCreate' || !effect.copyFrom) continue;
        for (const rel of this.list(effect.copyFrom))
          for (let blkno = 0; blkno < (this.size(rel, rel.fork) ?? 0); blkno++) want(rel, rel.fork, blkno);
      }
    } catch (err) {
      // Replay meets the same record, and says what is wrong with it.
      if (!(err instanceof DbError)) throw err;
    }
  }
}

interface Run extends ForkLocator {
  blkno: number;
  count: number;
}

function locatorOf({ spcOid, dbOid, relNumber }: RelFileLocator): RelFileLocator {
  return { spcOid, dbOid, relNumber };
}
