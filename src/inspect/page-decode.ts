/** A page taken apart, as plain JSON: what `inspect page --json` prints and the text form is made from. */
import { errorMessage, isDbError } from '../engine/errors.js';
import { formatLsn, readPageLsn } from '../engine/lsn.js';
import { parseBtreePage, type BtreeTuple } from '../engine/page/btree.js';
import { BLCKSZ } from '../engine/page/constants.js';
import {
  isNewPage,
  PAGE_HEADER_SIZE,
  PD_ALL_VISIBLE,
  PD_HAS_FREE_LINES,
  PD_PAGE_FULL,
  pdChecksum,
  pdFlags,
  pdLower,
  pdPruneXid,
  pdSpecial,
  pdUpper,
} from '../engine/page/header.js';
import { heapFlagNames, heapTuple } from '../engine/page/heap.js';
import { itemCount, itemId, LP_NORMAL } from '../engine/page/itemid.js';
import { VM_HEAPBLOCKS_PER_PAGE, vmBitsOf } from '../engine/page/vm.js';
import { ForkNumber } from '../engine/wal/types.js';
import { splitAttributes, type Attribute } from './attributes.js';
import { indexDecoders, type IndexPageJson } from './page-index.js';

export type PageType =
  | 'new'
  | 'heap'
  | 'btree'
  | 'sequence'
  | 'vm'
  | 'fsm'
  | 'hash'
  | 'gist'
  | 'spgist'
  | 'gin'
  | 'brin'
  | 'unknown';

export interface PageHeaderJson {
  lsn: string;
  checksum: number;
  flags: string[];
  lower: number;
  upper: number;
  special: number;
  pageSize: number;
  version: number;
  pruneXid: number;
  freeBytes: number;
}

export interface ColumnJson {
  name: string;
  type: string;
  raw: string | null;
  value: string | null;
}

export interface HeapTupleJson {
  xmin: number;
  xmax: number;
  cid: number;
  ctid: string;
  flags: string[];
  natts: number;
  hoff: number;
  nulls: string | null;
  data: string;
  columns: ColumnJson[] | null;
}

export interface IndexTupleJson {
  kind: BtreeTuple['kind'];
  dead: boolean;
  tids: string[];
  downlink: number | null;
  attributes: number | null;
  key: string;
}

export interface ItemJson {
  offnum: number;
  state: 'unused' | 'normal' | 'redirect' | 'dead';
  /** Position on the page; of a redirect, the line pointer it leads to. */
  off: number;
  len: number;
  tuple?: HeapTupleJson;
  index?: IndexTupleJson;
  /** What is wrong with the tuple. */
  problem?: string;
}

export interface BtreeJson {
  prev: number;
  next: number;
  level: number;
  flags: string[];
  cycleId: number;
  highKey: number | null;
  meta: Record<string, number | boolean> | null;
  safeXid: string | null;
}

export interface DecodedPage {
  type: PageType;
  header: PageHeaderJson;
  items: ItemJson[];
  btree?: BtreeJson;
  /** Of the other index types. */
  index?: IndexPageJson;
  sequence?: { lastValue: string; logCount: string; isCalled: boolean };
  /** Runs of heap blocks with the same bits; those with none are left out. */
  visibility?: { first: number; last: number; allVisible: boolean; allFrozen: boolean }[];
  /** What keeps the page from being taken apart further. */
  problem?: string;
}

const ITEM_STATES = ['unused', 'normal', 'redirect', 'dead'] as const;
const BTREE_FLAGS = ['leaf', 'root', 'deleted', 'meta', 'half-dead', 'split-end', 'has-garbage', 'incomplete-split', 'has-fullxid']; // prettier-ignore
const SEQUENCE_MAGIC = 0x1717;

export interface PageContext {
  fork: number;
  blkno: number;
  /** Access method or `sequence`, when PostgreSQL told; otherwise the page's special area does. */
  kind: string | null;
  attributes: readonly Attribute[] | null;
}

/** Decodes 8192 bytes. Damage does not throw: it becomes `problem`, beside all that could be read. */
export function decodePage(page: Buffer, context: PageContext): DecodedPage {
  const type = pageType(page, context);
  const decoded: DecodedPage = { type, header: header(page), items: [] };
  const hasItems = type === 'heap' || type === 'sequence' || type === 'btree';
  try {
    if (hasItems) decoded.items = items(page, context, type);
    if (type === 'vm') decoded.visibility = visibility(page, context.blkno);
    if (type === 'btree') decodeBtree(page, decoded);
    if (type === 'sequence') decoded.sequence = sequence(page);
    if (type in indexDecoders) decoded.index = indexDecoders[type as keyof typeof indexDecoders](page);
  } catch (err) {
    if (!isDbError(err) && !(err instanceof RangeError)) throw err;
    decoded.problem = errorMessage(err);
  }
  return decoded;
}

/** By the fork, by what PostgreSQL said, or by the size of the special area and the marks in it. */
function pageType(page: Buffer, { fork, kind }: PageContext): PageType {
  if (isNewPage(page)) return 'new';
  if (fork === ForkNumber.vm) return 'vm';
  if (fork === ForkNumber.fsm) return 'fsm';
  if (kind !== null) return KINDS[kind] ?? 'unknown';
  const special = pdSpecial(page);
  const mark = page.readUInt16LE(BLCKSZ - 2);
  if (special === BLCKSZ) return 'heap';
  if (special === BLCKSZ - 16) return mark === 0xff80 ? 'hash' : mark === 0xff81 ? 'gist' : 'btree';
  if (special !== BLCKSZ - 8) return 'unknown';
  if (mark === 0xff82) return 'spgist';
  if (mark >= 0xf091 && mark <= 0xf093) return 'brin';
  return page.readUInt32LE(special) === SEQUENCE_MAGIC ? 'sequence' : 'gin';
}

const KINDS: Readonly<Record<string, PageType>> = { heap: 'heap', btree: 'btree', sequence: 'sequence', hash: 'hash', gist: 'gist', spgist: 'spgist', gin: 'gin', brin: 'brin' }; // prettier-ignore

function header(page: Buffer): PageHeaderJson {
  const flags = pdFlags(page);
  const names: [number, string][] = [
    [PD_HAS_FREE_LINES, 'has-free-lines'],
    [PD_PAGE_FULL, 'page-full'],
    [PD_ALL_VISIBLE, 'all-visible'],
  ];
  const sizeVersion = page.readUInt16LE(18);
  return {
    lsn: formatLsn(readPageLsn(page)),
    checksum: pdChecksum(page),
    flags: names.filter(([bit]) => flags & bit).map(([, name]) => name),
    lower: pdLower(page),
    upper: pdUpper(page),
    special: pdSpecial(page),
    pageSize: sizeVersion & 0xff00,
    version: sizeVersion & 0xff,
    pruneXid: pdPruneXid(page),
    freeBytes: Math.max(0, pdUpper(page) - pdLower(page)),
  };
}

function items(page: Buffer, context: PageContext, type: PageType): ItemJson[] {
  const count = Math.min(itemCount(page), (BLCKSZ - PAGE_HEADER_SIZE) >>> 2);
  return Array.from({ length: type === 'btree' && isMeta(page) ? 0 : count }, (_, i) => {
    const { off, flags, len } = itemId(page, i + 1);
    const item: ItemJson = { offnum: i + 1, state: ITEM_STATES[flags]!, off, len };
    if (flags !== LP_NORMAL || type === 'btree') return item;
    try {
      item.tuple = tupleJson(page, i + 1, context.attributes);
    } catch (err) {
      if (!isDbError(err)) throw err;
      item.problem = err.message;
    }
    return item;
  });
}

function tupleJson(page: Buffer, offnum: number, attributes: readonly Attribute[] | null): HeapTupleJson {
  const tuple = heapTuple(page, offnum);
  const { xmin, xmax, cid, ctid, natts, hoff, nullBitmap, data } = tuple;
  const columns = attributes && splitAttributes(data, nullBitmap, natts, attributes);
  return {
    xmin,
    xmax,
    cid,
    ctid: tidText(ctid.blkno, ctid.offnum),
    flags: heapFlagNames(tuple.infomask, tuple.infomask2).map((name) => name.toLowerCase()),
    natts,
    hoff,
    nulls: nullBitmap && nullBits(nullBitmap, natts),
    data: data.toString('hex'),
    columns:
      columns &&
      columns.map(({ name, type, raw, text }) => ({
        name,
        type,
        raw: raw && raw.toString('hex'),
        value: text,
      })),
  };
}

/** One digit a column: 1 present, 0 NULL. */
function nullBits(bitmap: Buffer, natts: number): string {
  return Array.from({ length: natts }, (_, i) => (bitmap[i >> 3]! >> (i & 7)) & 1).join('');
}

function decodeBtree(page: Buffer, decoded: DecodedPage): void {
  const info = parseBtreePage(page);
  decoded.btree = {
    prev: info.prev,
    next: info.next,
    level: info.level,
    flags: BTREE_FLAGS.filter((_, bit) => info.flags & (1 << bit)),
    cycleId: info.cycleId,
    highKey: info.highKey?.offnum ?? null,
    meta: info.meta && { ...info.meta },
    safeXid: info.safeXid === null ? null : String(info.safeXid),
  };
  for (const tuple of info.highKey ? [info.highKey, ...info.items] : info.items) {
    const item = decoded.items[tuple.offnum - 1];
    if (!item) continue;
    item.index = {
      kind: tuple.kind,
      dead: tuple.dead,
      tids: tuple.tids.map((tid) => tidText(tid.block, tid.offset)),
      downlink: tuple.downlink,
      attributes: tuple.attributes,
      key: tuple.key.toString('hex'),
    };
  }
}

function isMeta(page: Buffer): boolean {
  return (page.readUInt16LE(BLCKSZ - 4) & 0x8) !== 0;
}

/** Form_pg_sequence_data: last_value int8, log_cnt int8, is_called bool. */
function sequence(page: Buffer): { lastValue: string; logCount: string; isCalled: boolean } {
  const { data } = heapTuple(page, 1);
  return {
    lastValue: String(data.readBigInt64LE(0)),
    logCount: String(data.readBigInt64LE(8)),
    isCalled: data[16] !== 0,
  };
}

function visibility(page: Buffer, blkno: number): NonNullable<DecodedPage['visibility']> {
  const base = blkno * VM_HEAPBLOCKS_PER_PAGE;
  const runs: NonNullable<DecodedPage['visibility']> = [];
  let runBits = 0;
  for (let i = 0; i < VM_HEAPBLOCKS_PER_PAGE; i++) {
    const bits = vmBitsOf(page, base + i);
    if (bits !== 0 && bits === runBits) runs.at(-1)!.last = base + i;
    else if (bits !== 0)
      runs.push({
        first: base + i,
        last: base + i,
        allVisible: (bits & 1) !== 0,
        allFrozen: (bits & 2) !== 0,
      });
    runBits = bits;
  }
  return runs;
}

function tidText(block: number, offset: number): string {
  return `(${block},${offset})`;
}
