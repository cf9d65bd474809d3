/**
 * A mismatch in readable form: what differs of the page header, the line pointers, the tuples, then the bytes, ours beside PostgreSQL's, and the
 * record in the words of pg_waldump. What differs is decided on the masked pages; what is shown is what the pages hold.
 */
import { DbError } from '../errors.js';
import { formatLsn, readPageLsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import {
  PAGE_HEADER_SIZE,
  pdChecksum,
  pdFlags,
  pdLower,
  pdPruneXid,
  pdSpecial,
  pdUpper,
} from '../page/header.js';
import { HEAP_TUPLE_HEADER_SIZE, heapFlagNames, heapTuple } from '../page/heap.js';
import { itemCount, itemFlags, itemLength, itemOffset, itemWord, LP_NORMAL } from '../page/itemid.js';
import { formatRecord } from '../wal/describe.js';
import { forkName } from '../wal/desc/text.js';
import { ForkNumber, Rmgr, type WalRecord } from '../wal/types.js';
import type { Mismatch } from './types.js';

const MAX_POINTERS = 12;
const MAX_TUPLES = 8;
const MAX_ROWS = 24;
const MAX_RECORD_CHARS = 1200;
const ROW = 16;
/** Column of a page's side. */
const SIDE = 36;
const LABEL = 12;
const LP_STATES = ['unused', 'normal', 'redirect', 'dead'];

/** Where, which record and what, in one line. */
export function mismatchTitle({ rec, block, type, summary }: Mismatch): string {
  const rel = `${block.spcOid}/${block.dbOid}/${block.relNumber}`;
  return `${formatLsn(rec.startLsn)} ${type} block ${block.id} = ${rel} fork ${forkName(block.fork)} blk ${block.blkno}: ${summary}`;
}

/** At most some 90 lines, of about 90 columns but for the record's. */
export function formatMismatch(mismatch: Mismatch): string[] {
  const theirs = mismatch.kind === 'repeat' ? 'applied twice' : 'PostgreSQL';
  return [
    mismatchTitle(mismatch),
    recordText(mismatch.rec),
    `${' '.repeat(LABEL)}  ${'replayed here'.padEnd(SIDE)}  ${theirs}`,
    ...headerLines(mismatch),
    ...itemLines(mismatch),
    ...byteLines(mismatch),
  ];
}

function recordText(rec: WalRecord): string {
  let text: string;
  try {
    text = formatRecord(rec);
  } catch (err) {
    if (!(err instanceof DbError)) throw err;
    text = err.message;
  }
  return text.length <= MAX_RECORD_CHARS ? text : `${text.slice(0, MAX_RECORD_CHARS)}...`;
}

/** Fields of the page header: name, first byte, bytes, how to print it. */
const HEADER: readonly (readonly [string, number, number, (page: Buffer) => string | number])[] = [
  ['pd_lsn', 0, 8, (page) => formatLsn(readPageLsn(page))],
  ['pd_checksum', 8, 2, pdChecksum],
  ['pd_flags', 10, 2, (page) => `0x${pdFlags(page).toString(16)}`],
  ['pd_lower', 12, 2, pdLower],
  ['pd_upper', 14, 2, pdUpper],
  ['pd_special', 16, 2, pdSpecial],
  ['pd_version', 18, 2, (page) => `0x${page.readUInt16LE(18).toString(16)}`],
  ['pd_prune_xid', 20, 4, pdPruneXid],
];

function headerLines({ ours, theirs, maskedOurs, maskedTheirs }: Mismatch): string[] {
  return HEADER.filter(([, at, size]) => differ(maskedOurs, maskedTheirs, at, at, size)).map(
    ([name, , , print]) => sideBySide(name, String(print(ours)), String(print(theirs))),
  );
}

function itemLines(mismatch: Mismatch): string[] {
  const { ours, theirs, maskedOurs, maskedTheirs, block } = mismatch;
  if (block.fork === ForkNumber.vm || block.fork === ForkNumber.fsm || !hasLinePointers(theirs)) return [];
  const counts = [plausibleCount(ours), itemCount(theirs)] as const;
  const pointers: string[] = [];
  const tuples: string[] = [];
  for (let offnum = 1; offnum <= Math.max(...counts); offnum++) {
    const at = PAGE_HEADER_SIZE + 4 * (offnum - 1);
    const here = offnum <= counts[0];
    const there = offnum <= counts[1];
    if (here !== there || differ(maskedOurs, maskedTheirs, at, at, 4))
      pointers.push(
        sideBySide(
          `item ${offnum}`,
          here ? pointer(ours, offnum) : '-',
          there ? pointer(theirs, offnum) : '-',
        ),
      );
    const [mine, its] = [here ? tupleAt(ours, offnum) : null, there ? tupleAt(theirs, offnum) : null];
    if (mine === null && its === null) continue;
    const same = mine !== null && its !== null && mine.size === its.size;
    if (same && !differ(maskedOurs, maskedTheirs, mine.at, its.at, mine.size)) continue;
    tuples.push(`  tuple ${offnum}`);
    if (mine !== null) tuples.push(`    here        ${tupleText(mismatch, ours, offnum)}`);
    if (its !== null) tuples.push(`    PostgreSQL  ${tupleText(mismatch, theirs, offnum)}`);
  }
  return [
    ...bounded(pointers, MAX_POINTERS, 'line pointers'),
    ...bounded(tuples, 3 * MAX_TUPLES, 'lines of tuples'),
  ];
}

/** Index pages of some kinds keep other things there. */
function hasLinePointers(page: Buffer): boolean {
  const count = itemCount(page);
  if (count === 0 || pdLower(page) > pdUpper(page)) return false;
  for (let offnum = 1; offnum <= count; offnum++) {
    const [at, size] = [itemOffset(page, offnum), itemLength(page, offnum)];
    if (size > 0 && (at < pdUpper(page) || at + size > pdSpecial(page))) return false;
  }
  return true;
}

/** Our page may hold anything. */
function plausibleCount(page: Buffer): number {
  return Math.min(itemCount(page), (BLCKSZ - PAGE_HEADER_SIZE) >>> 2);
}

function pointer(page: Buffer, offnum: number): string {
  const state = LP_STATES[(itemWord(page, offnum) >>> 15) & 3]!;
  return `${state} at ${itemOffset(page, offnum)}, ${itemLength(page, offnum)} bytes`;
}

function tupleAt(page: Buffer, offnum: number): { at: number; size: number } | null {
  const [at, size] = [itemOffset(page, offnum), itemLength(page, offnum)];
  return size > 0 && at + size <= BLCKSZ ? { at, size } : null;
}

function tupleText({ rec }: Mismatch, page: Buffer, offnum: number): string {
  const at = itemOffset(page, offnum);
  const size = itemLength(page, offnum);
  switch (rec.rmid) {
    case Rmgr.Heap:
    case Rmgr.Heap2:
    case Rmgr.Sequence:
      return heapText(page, offnum, size);
    case Rmgr.Btree:
    case Rmgr.Hash:
    case Rmgr.Gist:
    case Rmgr.Gin: {
      if (size < 8) break;
      const info = page.readUInt16LE(at + 6);
      const block = page.readUInt16LE(at) * 0x10000 + page.readUInt16LE(at + 2);
      return `tid (${block},${page.readUInt16LE(at + 4)}) size ${info & 0x1fff} flags 0x${(info & 0xe000).toString(16)}`;
    }
  }
  return `${size} bytes at ${at}`;
}

function heapText(page: Buffer, offnum: number, size: number): string {
  if (itemFlags(page, offnum) !== LP_NORMAL || size < HEAP_TUPLE_HEADER_SIZE) return `${size} bytes`;
  try {
    const { xmin, xmax, cid, ctid, natts, hoff, infomask, infomask2, data } = heapTuple(page, offnum);
    const flags = heapFlagNames(infomask, infomask2).join(' ').toLowerCase();
    return `xmin ${xmin} xmax ${xmax} cid ${cid} ctid (${ctid.blkno},${ctid.offnum}) natts ${natts} hoff ${hoff} data ${data.length} [${flags}]`;
  } catch (err) {
    if (!(err instanceof DbError)) throw err;
    return err.message;
  }
}

function byteLines({ ours, theirs, maskedOurs, maskedTheirs }: Mismatch): string[] {
  const rows: string[] = [];
  for (let at = 0; at < BLCKSZ; at += ROW)
    if (differ(maskedOurs, maskedTheirs, at, at, ROW))
      rows.push(sideBySide(String(at).padStart(6), hexRow(ours, at), hexRow(theirs, at)));
  return bounded(rows, MAX_ROWS, 'rows of bytes');
}

function hexRow(page: Buffer, at: number): string {
  return page
    .toString('hex', at, at + ROW)
    .match(/.{8}/g)!
    .join(' ');
}

function differ(a: Buffer, b: Buffer, atA: number, atB: number, size: number): boolean {
  return a.compare(b, atB, atB + size, atA, atA + size) !== 0;
}

function sideBySide(label: string, ours: string, theirs: string): string {
  return `${label.padEnd(LABEL)}  ${ours.padEnd(SIDE)}  ${theirs}`;
}

function bounded(lines: string[], max: number, what: string): string[] {
  if (lines.length <= max) return lines;
  return [...lines.slice(0, max), `  ... and ${lines.length - max} more ${what}`];
}
