/** A small volume and a log for it, written record by record: for histories that are hard to get from a server. */
import type { ControlState } from '../../../src/engine/control/state.js';
import { lsn, maxAlign, type Lsn } from '../../../src/engine/lsn.js';
import { vmBlockOf } from '../../../src/engine/page/vm.js';
import type { Ingester } from '../../../src/engine/pages/ingest.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import { decodeRecord } from '../../../src/engine/wal/decode.js';
import { ForkNumber, Rmgr, type RelFileLocator, type WalRecord } from '../../../src/engine/wal/types.js';
import { encodeRecord, type BlockToWrite, type RecordToWrite } from '../../../src/engine/wal/writer.js';

export const START = lsn(0x1000000);
const XID = 800;

export function controlAt(at: Lsn, nextXid = 1000): ControlState {
  const checkpoint = {
    redo: at,
    thisTimeLineId: 1,
    prevTimeLineId: 1,
    fullPageWrites: false,
    walLevel: 1,
    nextXid,
    nextOid: 20000,
    nextMulti: 1,
    nextMultiOffset: 0,
    oldestXid: 3,
    oldestXidDb: 1,
    oldestMulti: 1,
    oldestMultiDb: 1,
    time: 0,
    oldestCommitTsXid: 0,
    newestCommitTsXid: 0,
    oldestActiveXid: 0,
  };
  return {
    systemIdentifier: '7000000000000000001',
    segmentSize: 16 * 1024 * 1024,
    checkpoint,
    parameters: {
      maxConnections: 100,
      maxWorkerProcesses: 8,
      maxWalSenders: 10,
      maxPreparedXacts: 0,
      maxLocksPerXact: 64,
      walLevel: 1,
      walLogHints: false,
      trackCommitTimestamp: false,
    },
    lastRecordLsn: lsn(at - 120),
    lastRecordEnd: at,
    lastCheckpoint: null,
    multixactOffsets: { lastInitialized: -1, preInitialized: -1 },
    controlImage: '',
  };
}

/** An empty volume at START. */
export function importNothing(store: PageStore, nextXid?: number): void {
  const control = controlAt(START, nextXid);
  store.beginImport(START).finish(control, control.lastRecordLsn);
}

export const rel: RelFileLocator = { spcOid: 1663, dbOid: 5, relNumber: 20001 };

/** Writes records one after another; flush() ingests those not yet ingested. Each method returns the record's end LSN. */
export class WrittenLog {
  readonly records: WalRecord[] = [];
  /** Where batches ended, from the import on. */
  readonly batchEnds: Lsn[] = [START];
  private ingested = 0;
  private prevLsn = lsn(START - 120);
  private at: Lsn = START;

  constructor(readonly ingester: Ingester) {}

  append(record: Omit<RecordToWrite, 'prevLsn' | 'xid'> & { xid?: number }): Lsn {
    const raw = encodeRecord({ xid: XID, ...record, prevLsn: this.prevLsn });
    const end = lsn(maxAlign(this.at + raw.length));
    this.records.push(decodeRecord(raw, this.at, end));
    this.prevLsn = this.at;
    this.at = end;
    return end;
  }

  flush(): void {
    this.ingester.ingestBatch(this.records.slice(this.ingested));
    this.ingested = this.records.length;
    this.batchEnds.push(this.at);
  }

  create(target: RelFileLocator, fork: number = ForkNumber.main): Lsn {
    const mainData = Buffer.alloc(16);
    writeRel(mainData, target, 0);
    mainData.writeInt32LE(fork, 12);
    return this.append({ rmid: Rmgr.Storage, info: 0x11, mainData });
  }

  truncate(target: RelFileLocator, blkno: number): Lsn {
    const mainData = Buffer.alloc(20);
    mainData.writeUInt32LE(blkno, 0);
    writeRel(mainData, target, 4);
    mainData.writeInt32LE(7, 16);
    return this.append({ rmid: Rmgr.Storage, info: 0x21, mainData });
  }

  /** A commit that drops relations. */
  drop(...rels: RelFileLocator[]): Lsn {
    const mainData = Buffer.alloc(16 + 12 * rels.length);
    mainData.writeUInt32LE(0x4, 8);
    mainData.writeInt32LE(rels.length, 12);
    rels.forEach((target, i) => writeRel(mainData, target, 16 + 12 * i));
    return this.append({ rmid: Rmgr.Transaction, info: 0x81, mainData });
  }

  /** One heap tuple with `text` as its data; the first one of a page initialises it. */
  insert(target: RelFileLocator, blkno: number, offset: number, text: string, clearsVm = false): Lsn {
    const mainData = Buffer.from([offset, 0, clearsVm ? 1 : 0]);
    const header = Buffer.from([1, 0, 0, 8, 24]);
    const block: BlockToWrite = {
      ...target,
      id: 0,
      fork: ForkNumber.main,
      blkno,
      willInit: offset === 1,
      data: Buffer.concat([header, Buffer.from([0]), Buffer.from(text)]),
    };
    return this.append({ rmid: Rmgr.Heap, info: offset === 1 ? 0x80 : 0, mainData, blocks: [block] });
  }

  /** The row at (fromBlk, fromOffset) moves to another page; both pages were all-visible. */
  update(target: RelFileLocator, fromBlk: number, fromOffset: number, toBlk: number, toOffset: number): Lsn {
    const mainData = Buffer.alloc(14);
    mainData.writeUInt32LE(XID, 0);
    mainData.writeUInt16LE(fromOffset, 4);
    mainData[7] = 0x03;
    mainData.writeUInt16LE(toOffset, 12);
    const data = Buffer.concat([Buffer.from([1, 0, 0, 8, 24, 0]), Buffer.from('moved')]);
    const main = { ...target, fork: ForkNumber.main };
    const blocks: BlockToWrite[] = [
      { ...main, id: 0, blkno: toBlk, data },
      { ...main, id: 1, blkno: fromBlk },
    ];
    return this.append({ rmid: Rmgr.Heap, info: 0x20, mainData, blocks });
  }

  /** Marks a heap block all-visible in the map, which is made if it is not there. */
  visible(target: RelFileLocator, heapBlk: number): Lsn {
    const mainData = Buffer.from([0, 0, 0, 0, 1]);
    const blocks: BlockToWrite[] = [
      { ...target, id: 0, fork: ForkNumber.vm, blkno: vmBlockOf(heapBlk) },
      { ...target, id: 1, fork: ForkNumber.main, blkno: heapBlk },
    ];
    return this.append({ rmid: Rmgr.Heap2, info: 0x40, mainData, blocks });
  }

  /** A full-page image (XLOG FPI). */
  image(target: RelFileLocator, fork: number, blkno: number, page: Buffer): Lsn {
    const block: BlockToWrite = { ...target, id: 0, fork, blkno, image: page, imageInfo: 0x02 };
    return this.append({ rmid: Rmgr.XLOG, info: 0xb0, mainData: Buffer.alloc(0), blocks: [block] });
  }

  clogZero(pageno: number): Lsn {
    return this.append({ rmid: Rmgr.CLOG, info: 0x00, mainData: u64(pageno) });
  }

  clogTruncate(pageno: number): Lsn {
    return this.append({
      rmid: Rmgr.CLOG,
      info: 0x10,
      mainData: Buffer.concat([u64(pageno), Buffer.alloc(8)]),
    });
  }

  commit(xid: number): Lsn {
    return this.append({ rmid: Rmgr.Transaction, info: 0, xid, mainData: Buffer.alloc(8) });
  }

  originSet(id: number, remoteLsn: number, force = false): Lsn {
    const mainData = Buffer.alloc(16);
    u64(remoteLsn).copy(mainData);
    mainData.writeUInt16LE(id, 8);
    mainData[10] = force ? 1 : 0;
    return this.append({ rmid: Rmgr.ReplicationOrigin, info: 0, mainData });
  }
}

function writeRel(out: Buffer, { spcOid, dbOid, relNumber }: RelFileLocator, at: number): void {
  out.writeUInt32LE(spcOid, at);
  out.writeUInt32LE(dbOid, at + 4);
  out.writeUInt32LE(relNumber, at + 8);
}

function u64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}
