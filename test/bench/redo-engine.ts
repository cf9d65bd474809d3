/**
 * One measurement of bench:redo in a process of its own: node --import tsx redo-engine.ts TASK (JSON). Prints the result as one line of JSON.
 * With AURORA_COMPILED_DAEMONS=1 what is measured is the build in dist/, as users run it.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import type { Lsn } from '../../src/engine/lsn.js';
import type * as LogModule from '../../src/engine/log/index.js';
import type * as IngestModule from '../../src/engine/pages/ingest.js';
import type * as StoreModule from '../../src/engine/pages/store.js';
import type { CoalescePolicy, PageKey, PageStoreStats } from '../../src/engine/pages/types.js';
import type * as SegmentsModule from '../../src/engine/wal/segments.js';
import type * as StreamModule from '../../src/engine/wal/stream.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import type * as ConfigModule from '../../src/storage/config.js';
import type * as CreateModule from '../../src/storage/create-node.js';
import type * as ImportModule from '../../src/storage/import.js';
import type * as LoopModule from '../../src/storage/ingest-loop.js';

export interface DecodeTask {
  kind: 'decode';
  baseDir: string;
  walDir: string;
  flushedLsn: Lsn;
}

export interface DecodeResult {
  startLsn: Lsn;
  endLsn: Lsn;
  lastRecordLsn: Lsn;
  records: number;
  seconds: number;
}

export interface IngestTask {
  kind: 'ingest';
  baseDir: string;
  walDir: string;
  nodeDir: string;
  startLsn: Lsn;
  endLsn: Lsn;
  /** File for a CPU profile of this thread while it ingests. */
  profile: string | null;
}

export interface IngestResult {
  importSeconds: number;
  /** Until everything was applied. */
  seconds: number;
  /** Processor time of the whole process meanwhile, RocksDB's background threads included. */
  cpuSeconds: number;
  /** Of the thread that ingests alone; null where the system does not tell (it is Linux that does). */
  threadSeconds: number | null;
  /** Writing the images that were still due then. */
  drainSeconds: number;
  stats: PageStoreStats;
  /** Reading every page of the end state, and how many there were. */
  readSeconds: number;
  pages: number;
}

export interface ChainsTask {
  kind: 'chains';
  baseDir: string;
  walDir: string;
  nodeDir: string;
  startLsn: Lsn;
  endLsn: Lsn;
  lengths: number[];
  samples: number;
}

export interface ChainFigures {
  deltas: number;
  /** Reads, each of another page. */
  samples: number;
  p50Us: number;
  p99Us: number;
}

export interface ChainsResult {
  lazyIngestSeconds: number;
  chains: ChainFigures[];
}

export type EngineTask = DecodeTask | IngestTask | ChainsTask;

const compiled = process.env['AURORA_COMPILED_DAEMONS'] === '1';
const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

async function load<T>(name: string): Promise<T> {
  const file = compiled ? path.join(ROOT, 'dist/src', `${name}.js`) : path.join(ROOT, 'src', `${name}.ts`);
  return (await import(file)) as T;
}

const PIECE = 1024 * 1024;

/** The WAL in [begin, end) or up to where its files end, in pieces as a node reads them. */
async function readWal(walDir: string, begin: Lsn, end: Lsn): Promise<Buffer[]> {
  const { openWalDirectory } = await load<typeof SegmentsModule>('engine/wal/segments');
  const directory = await openWalDirectory(walDir);
  const pieces: Buffer[] = [];
  try {
    for (let at = begin; at < end;) {
      const piece = await directory.read(at, Math.min(end, at + PIECE) as Lsn);
      if (piece.length === 0) break;
      pieces.push(piece);
      at = (at + piece.length) as Lsn;
    }
  } finally {
    await directory.close();
  }
  return pieces;
}

async function openBase(baseDir: string): Promise<ImportModule.SourceCluster> {
  const { openSourceCluster } = await load<typeof ImportModule>('storage/import');
  return openSourceCluster(baseDir);
}

/** Decoding, checksums included, nothing else; the bytes are in memory. */
async function decode(task: DecodeTask): Promise<DecodeResult> {
  const source = await openBase(task.baseDir);
  const { WalStreamDecoder } = await load<typeof StreamModule>('engine/wal/stream');
  const pieces = await readWal(task.walDir, source.lsn, Number.MAX_SAFE_INTEGER as Lsn);
  const decoder = new WalStreamDecoder({
    startLsn: source.lsn,
    segmentSize: source.control.segmentSize,
    systemId: BigInt(source.control.systemIdentifier),
    lastRecordLsn: source.control.checkpointLsn,
  });
  let records = 0;
  const begun = performance.now();
  try {
    for (const piece of pieces) {
      decoder.push(piece);
      while (decoder.next() !== null) records++;
    }
  } catch (err) {
    // A killed server's log ends where its bytes are no record any more; before what was flushed, that is damage.
    if (decoder.position < task.flushedLsn) throw err;
  }
  const seconds = (performance.now() - begun) / 1000;
  return {
    startLsn: source.lsn,
    endLsn: decoder.position,
    lastRecordLsn: decoder.lastRecordLsn,
    records,
    seconds,
  };
}

const VOLUME = { volumeId: 'bench', nodeId: 'bench' };

/** As a storage node does it: from its durable log, in its slices, with its policy. */
async function ingest(task: IngestTask): Promise<IngestResult> {
  const { createNode, LOG_FOLDER, PAGES_FOLDER } = await load<typeof CreateModule>('storage/create-node');
  const { LogStore } = await load<typeof LogModule>('engine/log/index');
  const { PageStore } = await load<typeof StoreModule>('engine/pages/store');
  const { Ingester } = await load<typeof IngestModule>('engine/pages/ingest');
  const { IngestLoop } = await load<typeof LoopModule>('storage/ingest-loop');
  const { STORAGE_DEFAULTS } = await load<typeof ConfigModule>('storage/config');
  const { nodeDir, endLsn } = task;

  const importBegun = performance.now();
  await createNode({ dir: nodeDir, ...VOLUME }, await openBase(task.baseDir));
  const importSeconds = (performance.now() - importBegun) / 1000;
  const log = await LogStore.open(path.join(nodeDir, LOG_FOLDER), VOLUME);
  const store = await PageStore.open(path.join(nodeDir, PAGES_FOLDER), STORAGE_DEFAULTS.pages);
  try {
    for (const piece of await readWal(task.walDir, task.startLsn, endLsn)) {
      log.append(log.endLsn, piece);
      await log.sync();
    }
    const ingester = new Ingester(store, { secret: null });
    const loop = new IngestLoop(
      log,
      store,
      ingester,
      {
        ...STORAGE_DEFAULTS.ingest,
        readable: () => endLsn,
        onDamage: (err) => {
          throw err;
        },
      },
      pino({ level: 'silent' }),
    );
    const stopProfile = task.profile === null ? null : await startProfile();
    const thread = threadSeconds();
    const cpu = process.cpuUsage();
    const begun = performance.now();
    await loop.waitApplied(endLsn, 24 * 3600 * 1000);
    const seconds = (performance.now() - begun) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const threadNow = threadSeconds();
    if (stopProfile) writeFileSync(task.profile!, JSON.stringify(await stopProfile()));
    await loop.stop();
    const drainBegun = performance.now();
    while (ingester.coalesce(256) > 0);
    const drainSeconds = (performance.now() - drainBegun) / 1000;
    const { readSeconds, pages } = readEverything(store, endLsn);
    return {
      importSeconds,
      seconds,
      cpuSeconds: (user + system) / 1e6,
      threadSeconds: thread === null || threadNow === null ? null : threadNow - thread,
      drainSeconds,
      stats: store.stats,
      readSeconds,
      pages,
    };
  } finally {
    await store.close();
    await log.close();
    rmSync(nodeDir, { recursive: true, force: true });
  }
}

/** Processor time of this thread. */
function threadSeconds(): number | null {
  const file = `/proc/self/task/${process.pid}/schedstat`;
  if (!existsSync(file)) return null;
  return Number(readFileSync(file, 'utf8').split(' ')[0]) / 1e9;
}

/** Like --cpu-prof, but from here on. */
async function startProfile(): Promise<() => Promise<unknown>> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
  return async () => (await session.post('Profiler.stop')).profile;
}

const READ_PAGES = 32;

function readEverything(store: StoreModule.PageStore, at: Lsn): { readSeconds: number; pages: number } {
  const begun = performance.now();
  let pages = 0;
  for (const rel of store.manifest(at).relations) {
    for (let blkno = 0; blkno < rel.nblocks; blkno += READ_PAGES) {
      const count = Math.min(READ_PAGES, rel.nblocks - blkno);
      store.getPages(rel, rel.fork, blkno, count, at);
      pages += count;
    }
  }
  return { readSeconds: (performance.now() - begun) / 1000, pages };
}

/** getPage on chains as the WAL made them: nothing is coalesced, and each page is read as of the LSN where its chain had that length. */
async function chains(task: ChainsTask): Promise<ChainsResult> {
  const { createNode, PAGES_FOLDER } = await load<typeof CreateModule>('storage/create-node');
  const { PageStore } = await load<typeof StoreModule>('engine/pages/store');
  const { nodeDir } = task;
  await createNode({ dir: nodeDir, ...VOLUME }, await openBase(task.baseDir));
  const dir = path.join(nodeDir, PAGES_FOLDER);
  const coalesce: CoalescePolicy = { kind: 'lazy' };
  try {
    let store = await PageStore.open(dir, { coalesce });
    const touched = new Map<string, PageKey>();
    let lazyIngestSeconds: number;
    try {
      lazyIngestSeconds = await ingestAll(store, task, touched);
      store.sync();
    } finally {
      await store.close();
    }
    // Opened anew, without a cache of pages: each read goes from RocksDB's blocks to the page.
    store = await PageStore.open(dir, { coalesce, pageCachePages: 0 });
    try {
      const found = findChains(store, [...touched.values()], task);
      const figures = task.lengths.map((deltas) => measureReads(store, deltas, found.get(deltas)!));
      return { lazyIngestSeconds, chains: figures };
    } finally {
      await store.close();
    }
  } finally {
    rmSync(nodeDir, { recursive: true, force: true });
  }
}

const BATCH = 1000;

async function ingestAll(
  store: StoreModule.PageStore,
  task: ChainsTask,
  touched: Map<string, PageKey>,
): Promise<number> {
  const { Ingester } = await load<typeof IngestModule>('engine/pages/ingest');
  const { WalStreamDecoder } = await load<typeof StreamModule>('engine/wal/stream');
  const source = await openBase(task.baseDir);
  const ingester = new Ingester(store, { secret: null });
  const { segmentSize } = source.control;
  const decoder = new WalStreamDecoder({ startLsn: task.startLsn, segmentSize });
  let spent = 0;
  let batch: WalRecord[] = [];
  const flush = (): void => {
    const begun = performance.now();
    ingester.ingestBatch(batch);
    spent += performance.now() - begun;
    batch = [];
  };
  for (const piece of await readWal(task.walDir, task.startLsn, task.endLsn)) {
    decoder.push(piece);
    for (let rec = decoder.next(); rec !== null; rec = decoder.next()) {
      batch.push(rec);
      for (const { spcOid, dbOid, relNumber, fork, blkno } of rec.blocks)
        touched.set(`${spcOid}/${dbOid}/${relNumber}/${fork}/${blkno}`, {
          spcOid,
          dbOid,
          relNumber,
          fork,
          blkno,
        });
      if (batch.length === BATCH) flush();
    }
  }
  flush();
  return spent / 1000;
}

interface Read {
  key: PageKey;
  lsn: Lsn;
}

/** Pages and the LSNs at which their chains have just these lengths; as many different pages as there are. */
function findChains(store: StoreModule.PageStore, keys: PageKey[], task: ChainsTask): Map<number, Read[]> {
  const found = new Map<number, Read[]>(task.lengths.map((length) => [length, []]));
  shuffle(keys);
  for (const key of keys) {
    const wanted = task.lengths.filter((length) => found.get(length)!.length < task.samples);
    if (wanted.length === 0) break;
    const version = store.relationSize(key, key.fork, task.endLsn);
    if (version === null || key.blkno >= version) continue;
    const chain = store.versions(key, task.endLsn);
    const base = chain.at(-1);
    // A chain that begins with a page built from zeros counts that record as its base; one without any base is no page's.
    if (!base || !['image', 'coalesced', 'zero', 'init'].includes(base.kind)) continue;
    for (const length of wanted) {
      const entry = chain[chain.length - 1 - length];
      if (entry) found.get(length)!.push({ key, lsn: entry.lsn });
    }
  }
  return found;
}

/** Each page once, in no order: what it costs when neither the page nor, mostly, its block is in our memory. */
function measureReads(store: StoreModule.PageStore, deltas: number, reads: Read[]): ChainFigures {
  // Not measured: reads until the code is compiled, whatever length comes first.
  const warmUp = Math.min(300, Math.floor(reads.length / 4));
  for (const { key, lsn } of reads.slice(0, warmUp)) store.getPage(key, lsn);
  const measured = reads.slice(warmUp);
  const took = measured.map(({ key, lsn }) => {
    const begun = performance.now();
    store.getPage(key, lsn);
    return (performance.now() - begun) * 1000;
  });
  took.sort((a, b) => a - b);
  const at = (share: number): number =>
    took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? NaN;
  return { deltas, samples: measured.length, p50Us: at(0.5), p99Us: at(0.99) };
}

/** Fisher-Yates with a fixed sequence, so that runs are alike. */
function shuffle(items: unknown[]): void {
  let state = 12345;
  for (let i = items.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
}

const task = JSON.parse(process.argv[2]!) as EngineTask;
const result =
  task.kind === 'decode'
    ? await decode(task)
    : task.kind === 'ingest'
      ? await ingest(task)
      : await chains(task);
process.stdout.write(`${JSON.stringify(result)}\n`);
