/** Replays the B-tree records of a real PostgreSQL's log and compares every page after every record. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import type { Lsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { applyRecord, compareWithImage, recordTypeName } from '../../../src/engine/redo/index.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import { Rmgr, type BlockRef, type WalRecord } from '../../../src/engine/wal/types.js';

const SEGMENT = 16 * 1024 * 1024;
export const CONTEXT = { walLogHints: false, checksums: false };

/** One record with one of its pages as it was before the record: all that is needed to apply it again. */
export interface Sample {
  readonly type: string;
  readonly rec: WalRecord;
  readonly block: BlockRef;
  readonly before: Buffer;
}

export interface Replay {
  /** By `relNumber/blkno`, as of the end of the log. */
  readonly pages: Map<string, Buffer>;
  /** Record types and forms, with how often they came. */
  readonly seen: Map<string, number>;
  readonly compared: number;
  readonly mismatches: string[];
  readonly samples: Sample[];
}

/** Records of the log in [start, end), timeline 1. Each is valid until the next one is asked for. */
async function* readLog(dataDir: string, start: Lsn, end: Lsn): AsyncGenerator<WalRecord> {
  const decoder = new WalStreamDecoder({ startLsn: start, segmentSize: SEGMENT });
  for (let at: number = start; at < end;) {
    const segment = Math.floor(at / SEGMENT);
    const name = [1, Math.floor(segment / 256), segment % 256]
      .map((n) => n.toString(16).toUpperCase().padStart(8, '0'))
      .join('');
    const bytes = await fs.readFile(path.join(dataDir, 'pg_wal', name));
    decoder.push(bytes.subarray(at % SEGMENT, Math.min(SEGMENT, end - segment * SEGMENT)));
    at = (segment + 1) * SEGMENT;
    for (let rec = decoder.next(); rec !== null; rec = decoder.next()) yield rec;
  }
}

/** Follows all pages of the relations in `files` from `start` on, which must precede their creation. */
export async function replayBtree(
  dataDir: string,
  files: ReadonlySet<number>,
  start: Lsn,
  end: Lsn,
  samplesPerType: number,
): Promise<Replay> {
  const pages = new Map<string, Buffer>();
  const seen = new Map<string, number>();
  const mismatches: string[] = [];
  const samples: Sample[] = [];
  let compared = 0;
  for await (const rec of readLog(dataDir, start, end)) {
    if (rec.rmid !== Rmgr.Btree && rec.rmid !== Rmgr.XLOG) continue;
    const type = recordTypeName(rec).replace('Btree/', '');
    if (rec.rmid === Rmgr.Btree) for (const form of formsOf(type, rec)) count(seen, form);
    for (const block of rec.blocks) {
      if (!files.has(block.relNumber) || block.fork !== 0) continue;
      const key = `${block.relNumber}/${block.blkno}`;
      const page = pages.get(key) ?? Buffer.alloc(BLCKSZ);
      pages.set(key, page);
      const kind = `${type} block ${block.id}`;
      const n = count(seen, kind);
      if (rec.rmid === Rmgr.Btree && (n & (n - 1)) === 0 && n < 2 ** samplesPerType) {
        samples.push({ type: kind, rec, block, before: Buffer.from(page) });
      }
      const result = applyRecord(page, rec, block, CONTEXT);
      if (result === 'notfound')
        mismatches.push(`${type} at ${rec.startLsn}: page ${key} was never initialised`);
      if (rec.rmid !== Rmgr.Btree) continue;
      const difference = compareWithImage(page, rec, block);
      compared++;
      if (difference !== null && mismatches.length < 20) {
        const { offset, bytes, what } = difference;
        mismatches.push(`${kind} at ${rec.startLsn}: ${bytes} bytes differ from ${offset} on (${what})`);
      }
    }
  }
  return { pages, seen, compared, mismatches, samples };
}

function count(seen: Map<string, number>, what: string): number {
  const n = (seen.get(what) ?? 0) + 1;
  seen.set(what, n);
  return n;
}

/** The record's type, and which of its paths through redo it takes. */
function formsOf(type: string, rec: WalRecord): string[] {
  const main = rec.mainData;
  switch (type) {
    case 'SPLIT_L':
    case 'SPLIT_R': {
      const place = main.readUInt16LE(6) === main.readUInt16LE(4) ? ' at the split' : '';
      const posting = main.readUInt16LE(8) > 0 ? ' with posting list' : '';
      return [type, `${type} level ${main.readUInt32LE(0)}`, `${type} page${posting}${place}`];
    }
    case 'NEWROOT':
      return [type, `${type} level ${main.readUInt32LE(4)}`];
    case 'UNLINK_PAGE':
    case 'UNLINK_PAGE_META': {
      const side = main.readUInt32LE(0) === 0 ? 'leftmost' : 'inner';
      return [type, `${type} level ${main.readUInt32LE(8)}`, `${type} ${side}`];
    }
    case 'DELETE':
    case 'VACUUM': {
      const at = type === 'DELETE' ? 4 : 0;
      const [deleted, updated] = [main.readUInt16LE(at), main.readUInt16LE(at + 2)];
      const removal = deleted === 0 ? 'no' : deleted <= 2 ? 'few' : 'many';
      return [type, `${type} ${removal} deletions${updated > 0 ? ' and updates' : ''}`];
    }
    default:
      return [type];
  }
}
