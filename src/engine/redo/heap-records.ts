/** Opcodes, flag bits and main-data sizes of the Heap and Heap2 records (access/heapam_xlog.h, PostgreSQL 18). */
import type { WalRecord } from '../wal/types.js';
import { redoError } from './types.js';

export const HEAP_OP = {
  INSERT: 0x00,
  DELETE: 0x10,
  UPDATE: 0x20,
  TRUNCATE: 0x30,
  HOT_UPDATE: 0x40,
  CONFIRM: 0x50,
  LOCK: 0x60,
  INPLACE: 0x70,
} as const;

export const HEAP2_OP = {
  REWRITE: 0x00,
  PRUNE_ON_ACCESS: 0x10,
  PRUNE_VACUUM_SCAN: 0x20,
  PRUNE_VACUUM_CLEANUP: 0x30,
  VISIBLE: 0x40,
  MULTI_INSERT: 0x50,
  LOCK_UPDATED: 0x60,
  NEW_CID: 0x70,
} as const;

/** Bit of xl_info: the page is built from scratch. */
export const INIT_PAGE = 0x80;

/** The same bit in the flags of INSERT, MULTI_INSERT and DELETE. */
export const ALL_VISIBLE_CLEARED = 0x01;
/** XLH_INSERT_* (INSERT and MULTI_INSERT). */
export const INSERT_FLAG = {
  LAST_IN_MULTI: 0x02,
  IS_SPECULATIVE: 0x04,
  CONTAINS_NEW_TUPLE: 0x08,
  ON_TOAST: 0x10,
  ALL_FROZEN_SET: 0x20,
} as const;
export const DELETE_FLAG = { CONTAINS_OLD: 0x06, IS_SUPER: 0x08, IS_PARTITION_MOVE: 0x10 } as const;
export const UPDATE_FLAG = {
  OLD_ALL_VISIBLE_CLEARED: 0x01,
  NEW_ALL_VISIBLE_CLEARED: 0x02,
  CONTAINS_OLD: 0x0c,
  CONTAINS_NEW_TUPLE: 0x10,
  PREFIX_FROM_OLD: 0x20,
  SUFFIX_FROM_OLD: 0x40,
} as const;
export const LOCK_ALL_FROZEN_CLEARED = 0x01;
/** XLHP_* of the PRUNE records. */
export const PRUNE_FLAG = {
  IS_CATALOG_REL: 0x02,
  CLEANUP_LOCK: 0x04,
  HAS_CONFLICT_HORIZON: 0x08,
  HAS_FREEZE_PLANS: 0x10,
  HAS_REDIRECTIONS: 0x20,
  HAS_DEAD_ITEMS: 0x40,
  HAS_NOW_UNUSED_ITEMS: 0x80,
} as const;
export const VISIBLE_CATALOG_REL = 0x04;

/** XLHL_*: bits of infobits_set. */
export const INFOBIT = {
  IS_MULTI: 0x01,
  LOCK_ONLY: 0x02,
  EXCL_LOCK: 0x04,
  KEYSHR_LOCK: 0x08,
  KEYS_UPDATED: 0x10,
} as const;
const INFOBITS_ALL = 0x1f;

/** xl_heap_header: t_infomask2 u16, t_infomask u16, t_hoff u8. */
export const SIZE_OF_HEAP_HEADER = 5;
/** xl_multi_insert_tuple: datalen u16, then the same three. */
export const SIZE_OF_MULTI_INSERT_TUPLE = 7;

/** Exactly the blocks 0 .. count-1, none of them WILL_INIT but block 0 if `init`. Throws REDO_BAD_RECORD. */
export function checkBlocks(rec: WalRecord, count: number, init = false): void {
  const { blocks } = rec;
  let ok = blocks.length === count;
  for (let i = 0; ok && i < count; i++) ok = blocks[i]!.id === i && blocks[i]!.willInit === (init && i === 0);
  if (!ok) {
    const found = blocks.map((b) => `${b.id}${b.willInit ? ' (init)' : ''}`).join(', ');
    throw redoError(
      'REDO_BAD_RECORD',
      `expected ${count} block(s)${init ? ', block 0 (init)' : ''}; found: ${found || 'none'}`,
    );
  }
}

/** Main data of `size` bytes, or at least that many if `more`. Throws REDO_BAD_RECORD. */
export function checkMainData(rec: WalRecord, size: number, more = false): void {
  const have = rec.mainData.length;
  if (more ? have < size : have !== size)
    throw redoError(
      'REDO_BAD_RECORD',
      `main data has ${have} bytes, expected ${size}${more ? ' or more' : ''}`,
    );
}

/** Throws REDO_UNKNOWN_RECORD when `flags` has a bit outside `known`. */
export function checkFlags(flags: number, known: number, what = 'flags'): void {
  if ((flags & ~known) !== 0)
    throw redoError(
      'REDO_UNKNOWN_RECORD',
      `unknown ${what}: 0x${(flags & ~known).toString(16)} in 0x${flags.toString(16)}`,
    );
}

export function checkInfobits(infobits: number): void {
  checkFlags(infobits, INFOBITS_ALL, 'infobits');
}
