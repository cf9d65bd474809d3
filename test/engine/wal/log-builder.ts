/** Synthetic logs: records laid out by the writer from any position, and the bytes they make. */
import fc from 'fast-check';
import { lsn, type Lsn } from '../../../src/engine/lsn.js';
import {
  encodeRecord,
  placeRecord,
  type BlockToWrite,
  type RecordToWrite,
} from '../../../src/engine/wal/writer.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';

export const SEGMENT = 1024 * 1024;
export const IDENTITY = { segmentSize: SEGMENT, systemId: 0x1234567890abcdefn, timeline: 1 };

export interface Placed {
  raw: Buffer;
  startLsn: Lsn;
  endLsn: Lsn;
}

/** Lays records of the given contents one after the other from `start`. */
export function buildLog(
  start: Lsn,
  contents: readonly Partial<RecordToWrite>[],
  identity = IDENTITY,
): { bytes: Buffer; records: Placed[] } {
  const pieces: Buffer[] = [];
  const records: Placed[] = [];
  let at = start;
  let prevLsn = lsn(0);
  for (const content of contents) {
    const raw = encodeRecord({ rmid: 21, info: 0, xid: 7, prevLsn, mainData: Buffer.alloc(0), ...content });
    const placed = placeRecord(raw, at, identity);
    pieces.push(placed.bytes);
    records.push({ raw, startLsn: placed.startLsn, endLsn: placed.endLsn });
    at = placed.endLsn;
    prevLsn = placed.startLsn;
  }
  return { bytes: Buffer.concat(pieces), records };
}

export function decoderAt(
  startLsn: Lsn,
  options: { lastRecordLsn?: Lsn; timeline?: number } = {},
): WalStreamDecoder {
  return new WalStreamDecoder({ startLsn, segmentSize: SEGMENT, systemId: IDENTITY.systemId, ...options });
}

export function drain(decoder: WalStreamDecoder): WalRecord[] {
  const out: WalRecord[] = [];
  for (let rec = decoder.next(); rec !== null; rec = decoder.next()) out.push(rec);
  return out;
}

const u32 = fc.nat(0xffffffff);
const bytes = (max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength: max }).map((b) => Buffer.from(b));

/** Block references with every combination of flags; ids ascend, with gaps; relations repeat often. */
export const arbitraryBlocks: fc.Arbitrary<BlockToWrite[]> = fc
  .array(
    fc.record({
      gap: fc.nat(3),
      fork: fc.nat(3),
      blkno: u32,
      rel: fc.constantFrom(1, 2),
      willInit: fc.boolean(),
      data: bytes(60),
      image: fc.constantFrom('none', 'whole', 'hole', 'packed', 'packedHole'),
    }),
    { maxLength: 6 },
  )
  .map((items) => {
    let id = -1;
    return items.map(({ gap, rel, image, ...block }) => {
      id += 1 + gap;
      return { ...block, id, spcOid: 1663, dbOid: 5, relNumber: rel, ...imageOf(image) };
    });
  });

function imageOf(kind: string): Partial<BlockToWrite> {
  if (kind === 'whole') return { image: Buffer.alloc(8192, 1), imageInfo: 0x02 };
  if (kind === 'hole')
    return { image: Buffer.alloc(100, 2), imageInfo: 0x03, holeOffset: 40, holeLength: 8092 };
  if (kind === 'packed') return { image: Buffer.alloc(50, 3), imageInfo: 0x04 };
  if (kind === 'packedHole')
    return { image: Buffer.alloc(50, 4), imageInfo: 0x09, holeOffset: 24, holeLength: 8000 };
  return {};
}

export const arbitraryContent: fc.Arbitrary<Omit<RecordToWrite, 'prevLsn'>> = fc.record({
  rmid: fc.constantFrom(0, 1, 10, 11, 20, 21, 128, 255),
  info: fc.constantFrom(0x00, 0x10, 0x23, 0x81),
  xid: u32,
  mainData: fc.oneof(
    bytes(40),
    bytes(600),
    fc.nat(30_000).map((n) => Buffer.alloc(n, n)),
  ),
  blocks: arbitraryBlocks,
  origin: fc.constantFrom(0, 1, 65535),
  toplevelXid: fc.constantFrom(0, 700),
});
