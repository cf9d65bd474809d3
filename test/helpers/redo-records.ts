/** Hand-made WAL records for tests of redo, encoded and decoded again like any other. */
import { lsn, writePageLsn, type Lsn } from '../../src/engine/lsn.js';
import { pageInit } from '../../src/engine/page/header.js';
import { applyRecord } from '../../src/engine/redo/index.js';
import { decodeRecord } from '../../src/engine/wal/decode.js';
import { Rmgr, type WalRecord } from '../../src/engine/wal/types.js';
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

export const CTX = { walLogHints: false, checksums: false };

/** A heap page with `rows` rows, its LSN below the records of this test. */
export function heapPage(rows: number, at = lsn(0x2000000)): Buffer {
  const page = Buffer.alloc(8192);
  pageInit(page, 0);
  for (let i = 1; i <= rows; i++) {
    writePageLsn(page, 0);
    applyRecord(page, insert(i, 7), insert(i, 7).blocks[0]!, CTX);
  }
  writePageLsn(page, at);
  return page;
}

/** xl_heap_header of a row with one column, one byte of padding after the 23 header bytes, and an int4. */
export function rowData(value: number): Buffer {
  return Buffer.from([...u16s(1, 0x0800), 24, 0, ...u32s(value)]);
}

export function insert(offnum: number, value: number, init = false): WalRecord {
  return record({
    rmid: Rmgr.Heap,
    info: init ? 0x80 : 0,
    main: [...u16s(offnum), 0],
    blocks: [{ blkno: 3, data: rowData(value), willInit: init }],
  });
}

/** BKPIMAGE_APPLY. */
export const APPLY = 0x02;

export function fpi(image: Buffer, info = APPLY): WalRecord {
  return record({ rmid: Rmgr.XLOG, info: 0xb0, blocks: [{ blkno: 3, image, imageInfo: info }] });
}
