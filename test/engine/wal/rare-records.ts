/** Contents of records that a short workload does not make PostgreSQL write, for it to read and describe. */
import type { RecordToWrite } from '../../../src/engine/wal/writer.js';

const u8 = (...n: number[]): Buffer => Buffer.from(n);
const u16 = (...n: number[]): Buffer => Buffer.from(n.flatMap((v) => [v & 255, v >> 8]));
const u32 = (...n: number[]): Buffer => Buffer.from(Uint32Array.from(n).buffer);
const u64 = (...n: (number | bigint)[]): Buffer => Buffer.from(BigUint64Array.from(n.map(BigInt)).buffer);
const f64 = (n: number): Buffer => Buffer.from(Float64Array.of(n).buffer);
const text = (s: string): Buffer => Buffer.from(`${s}\0`);
const padded = (b: Buffer): Buffer => Buffer.concat([b, Buffer.alloc((8 - (b.length % 8)) % 8)]);
const TIME = 821_000_000_123_450; // 2026-01-06, trailing zero in the fraction
const REL = { spcOid: 1663, dbOid: 5, relNumber: 16999 };
const REL_BYTES = u32(1663, 5, 16999);

type Content = Partial<RecordToWrite> & { rmid: number; info: number };

function record(rmid: number, info: number, ...main: Buffer[]): Content {
  return { rmid, info, mainData: Buffer.concat(main) };
}

function onBlock(content: Content, data: Buffer): Content {
  return { ...content, blocks: [{ id: 0, ...REL, fork: 0, blkno: 7, data }] };
}

const inval = (id: number): Buffer => Buffer.concat([u8(id & 255, 0, 0, 0), u32(11, 12, 13)]);
const ALL_INVALS = Buffer.concat([5, -1, -2, -3, -4, -5, -6, -9].map(inval));
const STATS = Buffer.concat([u32(2, 5), u64(16_400), u32(1, 0), u64(2n ** 40n)]);

/** Commit or abort with every optional chunk; commits have invalidations, aborts do not. */
function completion(info: number, isCommit: boolean): Content {
  const flags = 0x001 | 0x002 | 0x004 | 0x100 | 0x010 | 0x080 | 0x020 | (isCommit ? 0x008 : 0);
  const xinfo = (flags | (1 << 29) | (1 << 30) | (1 << 31)) >>> 0;
  return {
    ...record(
      1,
      info | 0x80,
      u64(TIME),
      u32(xinfo, 5, 1663),
      u32(2, 801, 802),
      u32(2, 1663, 5, 70, 16_385, 5, 71),
      u32(2),
      STATS,
      isCommit ? Buffer.concat([u32(8), ALL_INVALS]) : Buffer.alloc(0),
      u32(900),
      text('a gid'),
      u64(0x1_0000_00aa, TIME),
    ),
    origin: 3,
  };
}

function prepare(): Content {
  const gid = text('a longer gid');
  const header = Buffer.concat([
    u32(0x57f94534, 0, 950, 5),
    u64(TIME),
    u32(10, 2, 1, 1, 1, 1, 8),
    u8(1, 0),
    u16(gid.length),
    u64(0xbeef, TIME),
  ]);
  const parts = [
    gid,
    u32(951, 952),
    u32(1663, 5, 1),
    u32(1664, 0, 2),
    STATS.subarray(0, 16),
    STATS.subarray(16),
    ALL_INVALS,
  ];
  return { ...record(1, 0x10, header, ...parts.map(padded)), origin: 4 };
}

const GIN_ACTIONS = Buffer.concat([
  u16(4),
  u8(0, 1),
  u8(1, 2, 0, 0, 0, 0, 1, 0, 3, 0, 9, 9, 9, 0), // a posting list of 3 bytes, padded to an even length
  u8(2, 3, 0, 0, 0, 0, 1, 0, 2, 0, 9, 9),
  u8(3, 4, 2, 0, ...Array<number>(12).fill(1)),
]);

const BTREE_DELETIONS = Buffer.concat([u16(3, 5, 8), u16(9, 10), u16(2, 0, 4), u16(1, 7)]);

/** Every record type that `runWorkload` leaves out, and rare variants of others. */
export const RARE_RECORDS: readonly Content[] = [
  record(
    0,
    0x00,
    u64(0x1_0000_0028),
    u32(2, 1, 1, 2),
    u64(2n ** 32n + 740n),
    u32(24_576, 5, 9, 731, 1, 1, 5, 0),
    u64(1_767_700_000),
    u32(3, 700, 0, 0),
  ),
  record(0, 0x30, u32(32_768)),
  record(0, 0x60, u32(100, 8, 10, 0, 64, 2), u8(1, 0, 0, 0)),
  record(0, 0x60, u32(200, 9, 11, 1, 65, 0), u8(0, 1, 0, 0)),
  record(0, 0x20),
  record(0, 0x50, u64(0x1_2345_6789)),
  record(0, 0x80, u8(1)),
  record(0, 0x80, u8(0)),
  record(0, 0x90, u64(TIME), u32(3, 2, 1, 0)),
  onBlock(record(0, 0xa0), Buffer.alloc(0)),
  record(0, 0xd0, u64(0x99, TIME + 555_000)),
  record(0, 0xe0, u32(9)),
  record(0, 0xc0, u32(1)),
  completion(0x00, true),
  completion(0x30, true),
  completion(0x20, false),
  completion(0x40, false),
  prepare(),
  record(2, 0x10, u32(1663, 5, 77, 3)),
  record(2, 0x10, u32(1664, 0, 78, 0)),
  record(2, 0x21, u32(12, 20_000, 5, 79, 7)),
  record(3, 0x00, u64(5)),
  record(3, 0x10, u64(6), u32(700, 1)),
  record(6, 0x00, u64(2)),
  record(6, 0x10, u64(3)),
  record(6, 0x20, u32(9, 100, 7), u32(1, 0, 2, 1, 3, 2, 4, 3, 5, 4, 6, 5, 7, 6)),
  record(6, 0x30, u32(5, 1, 2, 3, 4)),
  record(8, 0x10, u32(2, 1, 1, 50, 40, 48, 41, 42, 43)),
  record(8, 0x20, u32(5, 1663, 1, 8), ALL_INVALS),
  record(9, 0x00, Buffer.alloc(40, 1)),
  onBlock(record(9, 0x60, u32(812), u16(4), u8(0x1f, 1)), Buffer.alloc(0)),
  onBlock(record(10, 0xc0, u32(811), u16(3), u8(0x12, 0x60), u32(0), u16(9)), Buffer.from('tuple')),
  record(10, 0x30, u32(5, 2), u8(3, 0, 0, 0), u32(70, 71)),
  onBlock(record(11, 0x20, u16(6)), Buffer.alloc(8)),
  onBlock(record(11, 0x70, u32(640), u16(3, 2), u8(1)), BTREE_DELETIONS),
  onBlock(record(11, 0xc0, u16(3, 2)), BTREE_DELETIONS),
  record(11, 0xd0, REL_BYTES, u32(4), u64(2n ** 32n + 77n), u8(1)),
  record(12, 0x70, u16(3), u8(1)),
  record(12, 0xc0, u32(640), u16(2), u8(1, 0), u16(1, 2)),
  ...[1e6, 999_999.5, 123_456.789, 1.5e-7, 0.0001, 0, -0, -2.5, 1e300, Infinity, -Infinity, NaN].map((n) =>
    record(12, 0xb0, f64(n)),
  ),
  onBlock(record(13, 0x10, u32(4), Buffer.from('list')), Buffer.alloc(0)),
  onBlock(record(13, 0x20, u16(0x1), u16(1, 2, 3, 4)), u16(5, 0, 6, 0, 7, 8)),
  onBlock(record(13, 0x20, u16(0x3)), GIN_ACTIONS),
  onBlock(record(13, 0x20, u16(0x2)), u16(5, 1, 0, 0)),
  onBlock(record(13, 0x20, u16(0x3)), u8(1, 0, 6, 9)),
  onBlock(record(13, 0x50, u16(1, 0), u32(2, 3)), Buffer.alloc(0)),
  onBlock(record(13, 0x90), GIN_ACTIONS),
  onBlock(record(14, 0x10, u32(640), u16(1), u8(1, 0), u16(4)), Buffer.alloc(0)),
  record(14, 0x20, REL_BYTES, u32(4), u64(2n ** 33n + 5n), u8(0)),
  record(14, 0x70, u32(0)),
  onBlock(record(16, 0x30, u16(1, 2), u8(1, 255), u16(3, 4, 0), u32(700, 0)), Buffer.alloc(0)),
  onBlock(record(16, 0x40, u16(1, 2), u8(1, 1)), Buffer.alloc(0)),
  onBlock(
    record(16, 0x50, u8(1, 0), u16(2, 3), u8(0, 0), u16(4), u8(0, 1, 1, 0), u16(5, 6, 0), u32(0, 0)),
    Buffer.alloc(0),
  ),
  onBlock(record(16, 0x70, u16(2, 0), u32(700, 0), u16(1, 2)), Buffer.alloc(0)),
  onBlock(record(17, 0x20, u16(3, 0), u32(128, 16), u16(5)), Buffer.alloc(8)),
  onBlock(record(17, 0xa0, u16(3, 0), u32(128, 16), u16(5)), Buffer.alloc(8)),
  record(18, 0x00, u64(1)),
  record(18, 0x10, u64(4), u32(333)),
  record(19, 0x00, u64(0x55), u16(2), u8(1, 0, 0, 0, 0, 0)),
  onBlock(record(20, 0x00), Buffer.concat([u16(24, 2), u8(1, 2)])),
  record(21, 0x00, u32(5), u8(1, 0, 0, 0), u64(3, 0), text('ab')),
];
