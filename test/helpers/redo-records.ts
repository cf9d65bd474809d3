/** Hand-made WAL records for tests of redo, encoded and decoded again like any other. */
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import { decodeRecord } from '../../src/engine/wal/decode.js';
import type { Rmgr, WalRecord } from '../../src/engine/wal/types.js';
import { encodeRecord, type BlockToWrite } from '../../src/engine/wal/writer.js';

export const REL = { spcOid: 1663, dbOid: 5, relNumber: 16384 };
export const START = lsn(0x3000100);
export const END = lsn(0x3000200);

export interface RecordSpec {
  rmid: (typeof Rmgr)[keyof typeof Rmgr] | number;
  info: number;
  xid?: number;
  main?: Buffer | number[];
  blocks?: (Partial<BlockToWrite> & { blkno: number })[];
  endLsn?: Lsn;
}

/** Blocks get ids 0, 1, ... and the main fork of REL unless they say otherwise. */
export function record(spec: RecordSpec): WalRecord {
  const raw = encodeRecord({
    rmid: spec.rmid,
    info: spec.info,
    xid: spec.xid ?? 800,
    prevLsn: lsn(0x3000000),
    mainData: Buffer.from(spec.main ?? []),
    blocks: (spec.blocks ?? []).map((block, id) => ({ id, fork: 0, ...REL, ...block })),
  });
  return decodeRecord(raw, START, spec.endLsn ?? END);
}

/** Little-endian bytes of u16 values. */
export function u16s(...values: number[]): number[] {
  return values.flatMap((v) => [v & 0xff, v >>> 8]);
}
export function u32s(...values: number[]): number[] {
  return values.flatMap((v) => [v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, v >>> 24]);
}
