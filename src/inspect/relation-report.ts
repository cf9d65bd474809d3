/** What storage keeps of one relation: its forks, and on each node the versions of its pages. */
import { DbError } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import { ForkNumber } from '../engine/wal/types.js';
import type { StorageClient } from '../net/storage-client.js';
import { NodeClients, type NodeAnswer } from './node-clients.js';
import type { InspectedRelation } from './relation.js';

/** Requests under way at once, per node. */
const PARALLEL = 32;
/** Steps back in a page's history; a page with more is counted up to there. */
const CHAINS_MAX = 10_000;

/** Versions that stand alone; all others are changes upon one. */
const WHOLE: ReadonlySet<string> = new Set(['coalesced', 'image', 'zero']);

export interface ForkReport {
  fork: string;
  blocks: number;
  /** What the fork would take up as a file. */
  bytes: number;
}

export interface RelationNodeReport {
  id: string;
  address: string;
  /** Of its main, fsm, vm and init fork at `lsn`. */
  forks: ForkReport[];
  /** Pages looked at, and how many of them have any version. */
  pages: number;
  storedPages: number;
  /** Versions of them that the node has: whole pages, and changes. */
  images: number;
  deltas: number;
  /** Bytes of these, before RocksDB compresses them. */
  bytes: number;
  /** Most versions of one page, and which. */
  longest: { fork: string; block: number; versions: number } | null;
  problem: string | null;
}

export interface RelationReport {
  relation: { name: string | null; spcOid: number; dbOid: number; relNumber: number };
  lsn: string;
  nodes: RelationNodeReport[];
}

export interface RelationReportOptions {
  node?: string | undefined;
  /** As of this LSN; default: what each node has applied. */
  lsn?: Lsn | undefined;
  onProgress?(done: number, total: number): void;
}

/** Each node is asked for every page's versions, so a large relation takes its time. Throws USAGE_RELATION, INSPECT_NO_NODE. */
export async function relationReport(
  root: string,
  relation: InspectedRelation,
  options: RelationReportOptions,
): Promise<RelationReport> {
  const tool = new NodeClients(root, options.node);
  try {
    const statuses = await tool.ask((client) => client.status());
    const reached = statuses.flatMap(({ value }) => (value ? [value.appliedLsn] : []));
    const at = options.lsn ?? (Math.min(...reached) as Lsn);
    const progress = new Map<string, [done: number, total: number]>();
    const tell = (id: string, done: number, total: number): void => {
      progress.set(id, [done, total]);
      const all = [...progress.values()];
      options.onProgress?.(all.reduce((sum, [n]) => sum + n, 0), all.reduce((sum, [, n]) => sum + n, 0)); // prettier-ignore
    };
    const answers = await tool.ask((client) =>
      countNode(client, relation, at, (done, total) => tell(client.nodeId, done, total)),
    );
    if (answers.every(({ value }) => value === null || value.forks.length === 0))
      throw new DbError(
        'USAGE_RELATION',
        `relation ${nameOf(relation)} has no pages at LSN ${formatLsn(at)}`,
      );
    return {
      relation: { name: relation.name, ...relation.rel },
      lsn: formatLsn(at),
      nodes: answers.map(nodeReport),
    };
  } finally {
    tool.close();
  }
}

type Counted = Omit<RelationNodeReport, 'id' | 'address' | 'problem'>;

function nodeReport({ id, address, value, problem }: NodeAnswer<Counted>): RelationNodeReport {
  const nothing: Counted = {
    forks: [],
    pages: 0,
    storedPages: 0,
    images: 0,
    deltas: 0,
    bytes: 0,
    longest: null,
  };
  return { id, address, ...(value ?? nothing), problem };
}

async function countNode(
  client: StorageClient,
  { rel }: InspectedRelation,
  at: Lsn,
  onProgress: (done: number, total: number) => void,
): Promise<Counted> {
  const { gcLsn } = await client.status();
  const counted: Counted = {
    forks: [],
    pages: 0,
    storedPages: 0,
    images: 0,
    deltas: 0,
    bytes: 0,
    longest: null,
  };
  const pages: { fork: string; number: number; blkno: number }[] = [];
  for (const [fork, number] of Object.entries(ForkNumber)) {
    const blocks = await client.relationSize({ ...rel, fork: number, lsn: at });
    if (blocks === null) continue;
    counted.forks.push({ fork, blocks, bytes: blocks * 8192 });
    for (let blkno = 0; blkno < blocks; blkno++) pages.push({ fork, number, blkno });
  }
  counted.pages = pages.length;
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < pages.length) {
      const { fork, number, blkno } = pages[next++]!;
      const versions = await allVersions(client, { ...rel, fork: number, blkno }, at, gcLsn);
      if (versions.length > 0) counted.storedPages++;
      for (const { kind, bytes } of versions) {
        if (WHOLE.has(kind)) counted.images++;
        else counted.deltas++;
        counted.bytes += bytes;
      }
      if (versions.length > (counted.longest?.versions ?? 0))
        counted.longest = { fork, block: blkno, versions: versions.length };
      onProgress(next, pages.length);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return counted;
}

type Versions = Awaited<ReturnType<StorageClient['pageVersions']>>;

/** The chain that the page is built from at `at`, then the one that it was built from before that, back to the node's horizon. */
async function allVersions(
  client: StorageClient,
  page: { spcOid: number; dbOid: number; relNumber: number; fork: number; blkno: number },
  at: Lsn,
  horizon: Lsn,
): Promise<Versions> {
  const all: Versions = [];
  let from: Lsn = at;
  for (let i = 0; i < CHAINS_MAX && from >= horizon; i++) {
    if (i > 0 && (await client.relationSize({ ...page, lsn: from })) === null) break;
    const chain = await client.pageVersions({ ...page, lsn: from });
    all.push(...chain);
    const oldest = chain.at(-1)?.lsn;
    if (oldest === undefined || oldest === 0) break;
    from = lsn(oldest - 1);
  }
  return all;
}

function nameOf({ name, rel }: InspectedRelation): string {
  return name ?? `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}`;
}
