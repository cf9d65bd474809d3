/** Reads the SP-GiST indexes of a running PostgreSQL from its files, top down, to compare with what SQL says about their tables. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import type { Tid } from '../../../src/engine/page/btree.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { isNewPage } from '../../../src/engine/page/header.js';
import {
  SPGIST_LEAF,
  SPGIST_NULL_BLKNO,
  SPGIST_NULLS,
  SPGIST_ROOT_BLKNO,
  parseSpgistPage,
  type SpgistPageInfo,
  type SpgistTuple,
} from '../../../src/engine/page/spgist.js';
import { isUnloggedInit } from '../../helpers/redo-traits-spgist.js';
import type { PlainPostgres } from '../../helpers/plain-postgres.js';

export interface Tree {
  readonly name: string;
  /** `(block,offset)` of every row of the table; of every leaf tuple that the roots lead to. Sorted. */
  readonly rows: string[];
  readonly heapTids: string[];
  readonly problems: string[];
  readonly depth: number;
  readonly allTheSame: number;
  /** Pages initialised without a WAL record; see redo-traits-spgist.ts. */
  readonly unloggedInits: number;
}

/** Every permanent SP-GiST index of database postgres. VACUUM first: no row is dead then. */
export async function readTrees(server: PlainPostgres): Promise<Tree[]> {
  await server.sql('VACUUM');
  await server.sql('CHECKPOINT');
  const indexes = await server.sql(
    `SELECT i.indexrelid::regclass::text AS name, i.indrelid::regclass::text AS heap, pg_relation_filepath(i.indexrelid) AS file
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
      WHERE a.amname = 'spgist' AND c.relpersistence = 'p' ORDER BY 1`,
  );
  const trees: Tree[] = [];
  for (const { name, heap, file } of indexes as { name: string; heap: string; file: string }[]) {
    const rows = (await server.sql(`SELECT ctid::text AS tid FROM ${heap}`)).map((row) => String(row['tid']));
    trees.push(walk(name, rows.sort(), await fs.readFile(path.join(server.dataDir, file))));
  }
  return trees;
}

function walk(name: string, rows: string[], bytes: Buffer): Tree {
  const pages: (SpgistPageInfo | null)[] = [];
  let unloggedInits = 0;
  for (let at = 0; at + BLCKSZ <= bytes.length; at += BLCKSZ) {
    const page = bytes.subarray(at, at + BLCKSZ);
    if (isUnloggedInit(page)) unloggedInits++;
    pages.push(isNewPage(page) ? null : parseSpgistPage(page));
  }
  const walker = new Walker(pages);
  walker.countAll();
  walker.root(SPGIST_ROOT_BLKNO, false);
  walker.root(SPGIST_NULL_BLKNO, true);
  const { heapTids, problems, depth, allTheSame } = walker;
  if (pages[0]?.lastUsed?.length !== 8) problems.push('no metapage');
  return { name, rows, heapTids: heapTids.sort(), problems, depth, allTheSame, unloggedInits };
}

/** More than the tests' trees have: a cycle. Each text that leaves a long common prefix elsewhere makes a tree one level deeper. */
const MAX_DEPTH = 1000;

class Walker {
  readonly heapTids: string[] = [];
  readonly problems: string[] = [];
  depth = 0;
  allTheSame = 0;

  constructor(private readonly pages: readonly (SpgistPageInfo | null)[]) {}

  /** The counters of each page against its tuples. */
  countAll(): void {
    this.pages.forEach((page, blkno) => {
      if (page === null) return;
      const count = (kind: string): number => page.tuples.filter((tuple) => tuple.kind === kind).length;
      const [redirects, placeholders] = [count('redirect'), count('placeholder')];
      if (redirects !== page.redirects || placeholders !== page.placeholders)
        this.problems.push(
          `page ${blkno}: ${redirects} and ${placeholders}, not ${page.redirects} and ${page.placeholders}`,
        );
    });
  }

  root(blkno: number, nulls: boolean): void {
    const page = this.pages[blkno];
    if (!page) {
      this.problems.push(`no root ${blkno}`);
    } else if ((page.flags & SPGIST_LEAF) === 0) {
      this.visit({ block: blkno, offset: 1 }, nulls, 1);
    } else {
      for (const tuple of page.tuples) this.leaf(tuple, { block: blkno, offset: tuple.offnum });
    }
  }

  private visit(at: Tid, nulls: boolean, level: number): void {
    this.depth = Math.max(this.depth, level);
    const page = this.pages[at.block];
    const tuple = page?.tuples[at.offset - 1];
    if (!page || tuple === undefined || ((page.flags & SPGIST_NULLS) !== 0) !== nulls || level > MAX_DEPTH) {
      this.problems.push(`a downlink leads to ${text(at)}`);
    } else if (tuple.kind === 'inner') {
      if (tuple.allTheSame) this.allTheSame++;
      for (const { downlink } of tuple.nodes) if (downlink !== null) this.visit(downlink, nulls, level + 1);
    } else if (tuple.kind !== 'dead') {
      for (let offset = at.offset; offset !== 0;) {
        const member = page.tuples[offset - 1]!;
        this.leaf(member, { block: at.block, offset });
        offset = member.kind === 'leaf' ? member.next : 0;
      }
    }
  }

  private leaf(tuple: SpgistTuple, at: Tid): void {
    if (tuple.kind === 'leaf') this.heapTids.push(text(tuple.heapTid));
    else this.problems.push(`${tuple.kind} tuple at ${text(at)}, where a leaf tuple should be`);
  }
}

function text({ block, offset }: Tid): string {
  return `(${block},${offset})`;
}
