/**
 * All that a volume consists of beside the bytes of relation pages, in a form that compares: once as a page store has it from the log,
 * once as PostgreSQL left it in its files.
 */
import type { ControlState } from '../../../src/engine/control/index.js';
import { formatLsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import type { SlruName } from '../../../src/engine/pages/effects/types.js';
import { OFFSETS_PER_PAGE } from '../../../src/engine/pages/effects/slru.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import type { BaseImport } from '../../../src/engine/pages/types.js';
import { ForkNumber } from '../../../src/engine/wal/types.js';
import { importCluster, openSourceCluster } from '../../../src/storage/import.js';

export interface DirectoryState {
  /** Pages by `xact 3`. */
  readonly slrus: Map<string, Buffer>;
  /** Small files, databases, tablespaces and the like: name to content. */
  readonly facts: Map<string, string>;
  /** Blocks of a fork by `spc/db/rel/fork`: those that are known to hold something, and all. */
  readonly forks: Map<string, { readonly used: number; readonly all: number }>;
  control: ControlState | null;
}

function emptyState(): DirectoryState {
  return { slrus: new Map(), facts: new Map(), forks: new Map(), control: null };
}

/** The state in the files of a cleanly stopped server. */
export async function stateOfFiles(dataDir: string): Promise<DirectoryState> {
  const state = emptyState();
  const { slrus, facts, forks } = state;
  const forkName = (rel: { spcOid: number; dbOid: number; relNumber: number }, fork: number): string =>
    `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}/${fork}`;
  const collect: BaseImport = {
    relation: (rel, fork, nblocks) => forks.set(forkName(rel, fork), { used: 0, all: nblocks }),
    page(key) {
      const name = forkName(key, key.fork);
      const fork = forks.get(name)!;
      if (key.blkno >= fork.used) forks.set(name, { ...fork, used: key.blkno + 1 });
    },
    slruPage: (slru, pageno, image) => slrus.set(`${slru} ${pageno}`, Buffer.from(image)),
    database: (dbOid, spcOid) => facts.set(`database ${dbOid}`, `in ${spcOid}`),
    tablespace: (oid) => facts.set(`tablespace ${oid}`, ''),
    relmap: (spcOid, dbOid, data) => facts.set(`relation map ${spcOid}/${dbOid}`, data.toString('hex')),
    twoPhase: (fullXid, data) => facts.set(`prepared ${fullXid}`, data.toString('hex')),
    origin: (id, remoteLsn) => facts.set(`origin ${id}`, formatLsn(remoteLsn)),
    file: () => undefined,
    finish(control) {
      state.control = control;
    },
  };
  await importCluster(await openSourceCluster(dataDir), { pages: collect, appendLog: () => undefined });
  return state;
}

/** What `store` says at its applied LSN. */
export function stateOfStore(store: PageStore): DirectoryState {
  const state = emptyState();
  const at = store.appliedLsn;
  const manifest = store.manifest(at);
  for (const { slru, ranges } of manifest.slrus)
    for (const [first, last] of ranges)
      for (let pageno = first; pageno <= last; pageno++)
        state.slrus.set(`${slru} ${pageno}`, store.getSlruPage(slru, pageno, at)!);
  for (const { dbOid, spcOid } of manifest.databases) state.facts.set(`database ${dbOid}`, `in ${spcOid}`);
  for (const oid of manifest.tablespaces) state.facts.set(`tablespace ${oid}`, '');
  for (const map of manifest.relmaps)
    state.facts.set(`relation map ${map.spcOid}/${map.dbOid}`, map.data.toString('hex'));
  for (const { fullXid, data } of manifest.twoPhase)
    state.facts.set(`prepared ${fullXid}`, data.toString('hex'));
  for (const { id, remoteLsn } of manifest.origins) state.facts.set(`origin ${id}`, formatLsn(remoteLsn));
  for (const rel of manifest.relations)
    state.forks.set(`${rel.spcOid}/${rel.dbOid}/${rel.relNumber}/${rel.fork}`, {
      used: rel.nblocks,
      all: rel.nblocks,
    });
  state.control = store.controlSnapshot(at)!.state;
  return state;
}

/** What differs, in words; nothing if `ours` (from the log) is what PostgreSQL has (`theirs`). */
export function differences(ours: DirectoryState, theirs: DirectoryState): string[] {
  return [
    ...slruDifferences(ours.slrus, theirs.slrus, theirs.control!.checkpoint.nextMulti),
    ...mapDifferences(ours.facts, theirs.facts),
    ...forkDifferences(ours.forks, theirs.forks),
    ...controlDifferences(ours.control!, theirs.control!),
  ];
}

const ZERO = Buffer.alloc(BLCKSZ);

/**
 * Pages byte by byte. Where the next multixact's members start is not compared: startup writes it without log (TrimMultiXact). A page
 * of zeros in a file is as good as none: files grow by seeking.
 */
function slruDifferences(
  ours: DirectoryState['slrus'],
  theirs: DirectoryState['slrus'],
  nextMulti: number,
): string[] {
  const found: string[] = [];
  for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
    const a = Buffer.from(ours.get(name) ?? ZERO);
    const b = Buffer.from(theirs.get(name) ?? ZERO);
    const [slru, pageno] = name.split(' ') as [SlruName, string];
    if (slru === 'multixact_offsets' && Number(pageno) === Math.floor(nextMulti / OFFSETS_PER_PAGE))
      for (const page of [a, b]) page.fill(0, (nextMulti % OFFSETS_PER_PAGE) * 4).subarray(0, 4);
    if (a.equals(b)) {
      if (ours.has(name) && !theirs.has(name)) found.push(`${name}: a page of zeros here, no page there`);
      continue;
    }
    const at = a.findIndex((byte, i) => byte !== b[i]);
    found.push(`${name}: differs at ${at}: ${a[at]}, theirs ${b[at]}`);
  }
  return found;
}

function mapDifferences(ours: ReadonlyMap<string, string>, theirs: ReadonlyMap<string, string>): string[] {
  return [...new Set([...ours.keys(), ...theirs.keys()])]
    .filter((name) => ours.get(name) !== theirs.get(name))
    .map((name) => `${name}: ${ours.get(name) ?? 'unknown'}, theirs ${theirs.get(name) ?? 'unknown'}`);
}

/**
 * What pg_control carries, field by field. The database of the oldest multixact only serves for warnings; it is not compared, because recovery
 * learns of a new one only when the multixact is new, too (MultiXactAdvanceOldest).
 */
function controlDifferences(ours: ControlState, theirs: ControlState): string[] {
  const fields = ({ checkpoint, parameters, systemIdentifier, segmentSize, lastRecordEnd }: ControlState) =>
    new Map(
      Object.entries({
        ...checkpoint,
        oldestMultiDb: 0,
        ...parameters,
        systemIdentifier,
        segmentSize,
        lastRecordEnd,
      }).map(([name, value]) => [`control ${name}`, String(value)]),
    );
  return mapDifferences(fields(ours), fields(theirs));
}

/**
 * Free space maps are not logged; of unlogged relations only the init fork is. A file may end in blocks that were never written to, which
 * nobody logged.
 */
function forkDifferences(ours: DirectoryState['forks'], theirs: DirectoryState['forks']): string[] {
  const found: string[] = [];
  for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
    const [spc, db, rel, fork] = name.split('/');
    if (Number(fork) === ForkNumber.fsm) continue;
    if (Number(fork) !== ForkNumber.init && theirs.has(`${spc}/${db}/${rel}/${ForkNumber.init}`)) continue;
    const a = ours.get(name);
    const b = theirs.get(name);
    if (!a || !b) found.push(`fork ${name}: ${a ? 'there' : 'missing'}, theirs ${b ? 'there' : 'missing'}`);
    else if (a.all < b.used || a.all > b.all)
      found.push(`fork ${name}: ${a.all} blocks, theirs ${b.used} to ${b.all}`);
  }
  return found;
}
