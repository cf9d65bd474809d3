/** What all hash records have in common: strict forms, and the block data that tuples and item numbers are logged in. */
import { HASH_MOVED_BY_SPLIT, HASH_TUPLE_SIZE } from '../page/hash.js';
import type { BlockRef, WalRecord } from '../wal/types.js';
import { formedOp, type RecordForm } from './record-form.js';
import { redoError, type PageRedo, type RedoOp } from './types.js';

export interface HashForm extends RecordForm {
  /** Bytes of data of the blocks by id: 0 where it is not named. A block with an image to apply carries none. */
  readonly data?: (rec: WalRecord) => Readonly<Record<number, number>>;
  /** Blocks that are there for a lock only, and never with an image to apply. */
  readonly lockOnly?: number;
  /** Tests of what lengths cannot tell. Runs when all else is right; throws REDO_*. */
  readonly more?: (rec: WalRecord) => void;
}

/** A table entry whose records have this form. */
export function hashOp(
  name: string,
  redo: PageRedo,
  form: HashForm,
  more: Omit<RedoOp, 'name' | 'redo' | 'check'> = {},
): RedoOp {
  const op = formedOp(name, redo, form, more);
  const check = (rec: WalRecord): void => {
    op.check?.(rec);
    const lengths = form.data?.(rec);
    for (const block of rec.blocks) {
      const bytes = block.applyImage ? 0 : (lengths?.[block.id] ?? 0);
      if (block.data.length !== bytes)
        throw badRecord(`${block.data.length} bytes of data of block ${block.id} instead of ${bytes}`);
      if (block.applyImage && ((form.lockOnly ?? 0) & (1 << block.id)) !== 0)
        throw badRecord(`block ${block.id} is referenced for a lock, but comes with an image`);
    }
    form.more?.(rec);
  };
  return { ...op, check };
}

export function badRecord(message: string): Error {
  return redoError('REDO_BAD_RECORD', message);
}

/** A C bool of the main data. Throws REDO_UNKNOWN_RECORD: other values would be flags that we do not know. */
export function boolAt(rec: WalRecord, at: number): boolean {
  const value = rec.mainData[at]!;
  if (value > 1) throw redoError('REDO_UNKNOWN_RECORD', `${value} where only 0 and 1 are known`);
  return value === 1;
}

export function hasBlock(rec: WalRecord, id: number): boolean {
  return rec.blocks.some((b) => b.id === id);
}

export function blockOf(rec: WalRecord, id: number): BlockRef {
  const block = rec.blocks.find((b) => b.id === id);
  if (block === undefined) throw badRecord(`no block reference ${id}`);
  return block;
}

/** Throws REDO_BAD_RECORD unless a hash index tuple lies at `at` of `data`: all are of one size. */
export function checkHashTuple(data: Buffer, at: number): void {
  const info = at + HASH_TUPLE_SIZE <= data.length ? data.readUInt16LE(at + 6) : 0;
  if ((info & ~HASH_MOVED_BY_SPLIT) !== HASH_TUPLE_SIZE)
    throw badRecord(`no hash index tuple at byte ${at} of ${data.length} bytes of data`);
}

/** Item numbers, u16 each, that fill `data` from `at` on. */
export function offsetNumbers(data: Buffer, at = 0): Uint16Array {
  const offnums = new Uint16Array((data.length - at) >>> 1);
  for (let i = 0; i < offnums.length; i++) offnums[i] = data.readUInt16LE(at + i * 2);
  return offnums;
}
