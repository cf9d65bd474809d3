/**
 * Redo: how one WAL record changes one page. A resource manager is a table from opcode to RedoOp; apply.ts is the driver that
 * all tables share. Handlers only edit bytes of the page they are given: page images, the pd_lsn test and its stamping belong
 * to the driver, and a record's other blocks may live on another storage node, so a handler never asks for them.
 */
import { DbError } from '../errors.js';
import type { BlockRef, WalRecord } from '../wal/types.js';

/** Properties of the cluster (not of a record) that redo depends on: pg_control's wal_log_hints and data_checksum_version. */
export interface RedoContext {
  readonly walLogHints: boolean;
  readonly checksums: boolean;
}

/**
 * Changes `page` (8192 bytes, in place) as `rec` demands for `block`. Called only when the record is newer than the page and has no
 * image to apply; for a WILL_INIT block the page is all zero. Throws REDO_* (see redoError); the page is then in an unknown
 * state and must be thrown away.
 */
export type PageRedo = (page: Buffer, rec: WalRecord, block: BlockRef, ctx: RedoContext) => void;

export interface RedoOp {
  /** As pg_waldump prints it, without "+INIT". */
  readonly name: string;
  /** `noPageEffect` for records that change no page: an explicit entry, never a fall-through. */
  readonly redo: PageRedo;
  /** Bits of xl_info outside the table's opMask that this record may carry (heap: 0x80 INIT_PAGE). Default none. */
  readonly infoBits?: number;
  /**
   * Refuses a record whose form we do not know: wrong main data length, unknown flag bits, missing block references.
   * Throws REDO_UNKNOWN_RECORD or REDO_BAD_RECORD. Runs at ingest and before each application, so it must be cheap.
   */
  readonly check?: (rec: WalRecord) => void;
  /** The driver does not stamp pd_lsn: the handler does it itself where PostgreSQL would. */
  readonly keepsLsn?: true;
  /** Block id that may be absent or all zero: the handler then initialises it (RBM_ZERO_ON_ERROR). */
  readonly createsBlock?: number;
  /** Bit n: block id n is changed even after its image was restored (PostgreSQL tests NEEDS_REDO || RESTORED). Default none. */
  readonly afterImage?: number;
  /** Whether redo leaves this block of `rec` alone, pd_lsn included: it is referenced for a lock only. Default never. */
  readonly leaves?: (rec: WalRecord, block: BlockRef) => boolean;
}

export interface RmgrTable {
  readonly rmid: number;
  /** As pg_waldump prints it. */
  readonly name: string;
  /** Bits of xl_info that select the operation: 0xF0, or 0x70 where 0x80 is a modifier. */
  readonly opMask: number;
  readonly ops: Readonly<Record<number, RedoOp>>;
}

/** Entry for records without block references: what they do beyond pages is the business of the effects code. */
export const noPageEffect: PageRedo = (_page, rec) => {
  throw redoError(
    'REDO_BAD_RECORD',
    `record type 0x${rec.info.toString(16)} has no page effect, but names a block`,
  );
};

/**
 * Error of a redo handler. `message` says what is wrong; applyRecord() adds record, LSN and block to it. Codes:
 *   REDO_UNKNOWN_RECORD  resource manager, opcode or flag bit that PostgreSQL 18 does not write
 *   REDO_CUSTOM_RMGR     a resource manager of an extension (id 128 and up): only the extension can replay it
 *   REDO_UNSUPPORTED     something of PostgreSQL 18 that is not supported here
 *   REDO_BAD_RECORD      lengths, offsets or flags of the record contradict each other
 *   REDO_BAD_ITEM        the record points at a line pointer or tuple that is not on the page, or not as it must be
 *   REDO_BAD_PAGE        the page itself is impossible (header, line pointer or tuple out of bounds)
 *   REDO_ADD_ITEM        no room for an item, or its slot is taken
 */
export function redoError(code: string, message: string): DbError {
  return new DbError(code, message);
}
