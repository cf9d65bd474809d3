/** Pages of the other index types, taken apart by their own parsers, as plain JSON: facts of the page, then its entries. */
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { parseBrinPage } from '../engine/page/brin.js';
import { parseGinPage } from '../engine/page/gin.js';
import { parseGistPage } from '../engine/page/gist.js';
import { parseHashPage } from '../engine/page/hash.js';
import { parseSpgistPage } from '../engine/page/spgist.js';

export type FactJson = string | number | boolean | null | FactJson[] | { [name: string]: FactJson };

export interface IndexPageJson {
  facts: Record<string, FactJson>;
  /** Tuples, posting list segments or range map entries, in the order of the page. */
  entries: Record<string, FactJson>[];
}

const FLAGS = {
  hash: ['overflow', 'bucket', 'bitmap', 'meta', 'being-populated', 'being-split', 'needs-split-cleanup', 'has-dead-tuples'],
  gin: ['data', 'leaf', 'deleted', 'meta', 'list', 'list-fullrow', 'incomplete-split', 'compressed'],
  gist: ['leaf', 'deleted', 'tuples-deleted', 'follow-right', 'has-garbage'],
  spgist: ['meta', 'deleted', 'leaf', 'nulls'],
} as const; // prettier-ignore

const flagNames = (type: keyof typeof FLAGS, flags: number): string[] =>
  FLAGS[type].filter((_, bit) => (flags & (1 << bit)) !== 0);

const INVALID_BLOCK = 0xffffffff;
const orNone = (blkno: number): number | null => (blkno === INVALID_BLOCK ? null : blkno);

type Decoder = (page: Buffer) => IndexPageJson;

/** Each throws what its parser throws: REDO_BAD_PAGE, REDO_BAD_ITEM. */
export const indexDecoders: Readonly<Record<'hash' | 'gin' | 'gist' | 'spgist' | 'brin', Decoder>> = {
  hash(page) {
    const { items, flags, prev, next, bucket, type, ...rest } = parseHashPage(page);
    return made(
      {
        kind: type,
        bucket: orNone(bucket),
        prev: orNone(prev),
        next: orNone(next),
        flags: flagNames('hash', flags),
        ...rest,
      },
      items,
    );
  },
  gin(page) {
    const { tuples, segments, postingItems, flags, ...rest } = parseGinPage(page);
    return made({ ...rest, flags: flagNames('gin', flags) }, [...tuples, ...segments, ...postingItems]);
  },
  gist(page) {
    const { items, flags, nsn, ...rest } = parseGistPage(page);
    return made({ nsn: formatLsn(nsn as Lsn), ...rest, flags: flagNames('gist', flags) }, items);
  },
  spgist(page) {
    const { tuples, flags, ...rest } = parseSpgistPage(page);
    return made({ ...rest, flags: flagNames('spgist', flags) }, tuples);
  },
  brin(page) {
    const { tuples, entries, type, ...rest } = parseBrinPage(page);
    return made({ kind: type, ...rest }, [...entries, ...tuples]);
  },
};

function made(facts: object, entries: readonly object[]): IndexPageJson {
  return {
    facts: plain(facts) as Record<string, FactJson>,
    entries: entries.map((entry) => plain(entry) as Record<string, FactJson>),
  };
}

/** Bytes as hexadecimal digits, row addresses as PostgreSQL writes them, 64-bit numbers as text. */
function plain(value: unknown): FactJson {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null) {
    const names = Object.keys(value);
    if (names.length === 2 && 'block' in value && 'offset' in value)
      return `(${String(value.block)},${String(value.offset)})`;
    return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, plain(v)]));
  }
  return value as string | number | boolean | null;
}
