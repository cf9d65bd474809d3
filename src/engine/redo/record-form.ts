/** The form of a record type: how long its main data is and which blocks it must reference. Anything else is refused. */
import type { WalRecord } from '../wal/types.js';
import { redoError, type PageRedo, type RedoOp } from './types.js';

/** Sets of block ids are bit masks: bit n for block id n. */
export const [B0, B1, B2, B3, B4, B5, B6] = [1, 2, 4, 8, 16, 32, 64] as const;

export interface RecordForm {
  /** Bytes of main data. */
  readonly main: number;
  /** There may be more main data than that; `also` or the handler checks how much. Default false. */
  readonly longer?: boolean;
  /** Blocks that every record of the type has. */
  readonly need: number;
  /** Of all its blocks, those that redo initialises (WILL_INIT); a function where it depends on the record. */
  readonly init?: number | ((rec: WalRecord) => number);
  /** Blocks that it has only if the main data says so. Called when the length is known to be right; may throw REDO_*. */
  readonly also?: (rec: WalRecord) => number;
}

/** A table entry whose records have this form. */
export function formedOp(
  name: string,
  redo: PageRedo,
  form: RecordForm,
  more: Omit<RedoOp, 'name' | 'redo' | 'check'> = {},
): RedoOp {
  return { name, redo, check: (rec) => checkForm(rec, form), ...more };
}

const MAX_ID = 30;

function checkForm(rec: WalRecord, form: RecordForm): void {
  const { length } = rec.mainData;
  if (form.longer === true ? length < form.main : length !== form.main) {
    throw redoError(
      'REDO_BAD_RECORD',
      `${length} bytes of main data instead of ${form.main}${form.longer === true ? ' or more' : ''}`,
    );
  }
  let have = 0;
  let haveInit = 0;
  for (const block of rec.blocks) {
    if (block.id > MAX_ID) throw redoError('REDO_BAD_RECORD', `unexpected block reference ${block.id}`);
    have |= 1 << block.id;
    if (block.willInit) haveInit |= 1 << block.id;
  }
  const want = form.need | (form.also === undefined ? 0 : form.also(rec));
  const init = typeof form.init === 'function' ? form.init(rec) : (form.init ?? 0);
  if (have !== want || haveInit !== (want & init)) {
    const found = rec.blocks.map((b) => `${b.id}${b.willInit ? ' (init)' : ''}`).join(', ');
    throw redoError('REDO_BAD_RECORD', `unexpected set of block references: ${found || 'none'}`);
  }
}
