/** Damage to a stretch of log, drawn from a seed: what disks, wires, and a writer that has gone mad do to it. */
import { formatLsn, lsn, type Lsn } from '../../src/engine/lsn.js';
import { recordCrc } from '../../src/engine/wal/crc32c.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import type { Corpus } from './wal-corpus.js';

const PAGE = 8192;
const LONG_HEADER = 40;
const SHORT_HEADER = 24;

/** mulberry32: one seed, one sequence. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** A part of the log that begins and ends between records. */
export interface Stretch {
  readonly startLsn: Lsn;
  /** Start of the record before it, 0 for the first. */
  readonly lastRecordLsn: Lsn;
  readonly bytes: Buffer;
  readonly records: readonly WalRecord[];
  /** Damage lies before here; what follows is long enough to notice a record that claims to go on. */
  readonly damageEnd: number;
}

export interface Damage {
  /** For messages. */
  readonly what: string;
  readonly bytes: Buffer;
  /** The log ends early: a torn tail, with or without other bytes after it. */
  readonly cut: boolean;
  /** Offset of the first byte that is not what was written; the length if there is none. */
  readonly firstChange: number;
}

/** Records in sequence from a random one on, over at least `pages` pages and two more for the tail. */
export function drawStretch(corpus: Corpus, random: Random, pages: number): Stretch {
  const { records, bytes, startLsn } = corpus;
  const latest = records.findLastIndex((rec) => rec.startLsn < startLsn + bytes.length - 4 * PAGE);
  const first = random.below(latest);
  const begin = first === 0 ? startLsn : records[first - 1]!.endLsn;
  const damageEnd = begin + pages * PAGE;
  let last = first;
  while (last < records.length - 1 && records[last]!.endLsn < damageEnd + 2 * PAGE) last++;
  const end = records[last]!.endLsn;
  return {
    startLsn: begin,
    lastRecordLsn: first === 0 ? lsn(0) : records[first - 1]!.startLsn,
    bytes: bytes.subarray(begin - startLsn, end - startLsn),
    records: records.slice(first, last + 1),
    damageEnd: Math.max(8, Math.min(damageEnd, end - 2 * PAGE) - begin),
  };
}

type Damager = (stretch: Stretch, corpus: Corpus, random: Random) => Omit<Damage, 'firstChange'>;

const whole = (what: string, bytes: Buffer): Omit<Damage, 'firstChange'> => ({ what, bytes, cut: false });

/** A few bytes; half the time the checksum is made to fit again, so that the damage gets past it. */
const flipRecord: Damager = ({ startLsn, bytes, records, damageEnd }, corpus, random) => {
  const out = Buffer.from(bytes);
  const inReach = records.filter((r) => r.startLsn - startLsn < damageEnd);
  const rec = random.pick(inReach.length > 0 ? inReach : records);
  const total = rec.raw.length;
  const [part, from, to] = random.pick([
    ['header', 0, 24],
    ['headers', 24, Math.min(total, 70)],
    ['body', 24, total],
    ['tail', Math.max(24, total - 64), total],
  ] as const);
  const at: number[] = [];
  for (let n = 1 + random.below(3); n > 0 && to > from; n--) {
    const offset = from + random.below(to - from);
    at.push(offset);
    const position = positionIn(rec.startLsn, offset, corpus.segmentSize) - startLsn;
    out[position] = damagedByte(out[position]!, random);
  }
  const seal = random.chance(0.5);
  if (seal) sealRecord(out, startLsn, rec.startLsn, corpus.segmentSize);
  return whole(`bytes ${at.join(', ')} (${part}) of the record at ${formatLsn(rec.startLsn)}${seal ? ', checksum made to fit' : ''}`, out); // prettier-ignore
};

/** Another type under a right checksum; SWITCH, which hides what follows it, often. */
const otherType: Damager = ({ startLsn, bytes, records, damageEnd }, corpus, random) => {
  const out = Buffer.from(bytes);
  const inReach = records.filter((r) => r.startLsn - startLsn < damageEnd);
  const rec = random.pick(inReach.length > 0 ? inReach : records);
  const [rmid, info] = random.chance(0.3)
    ? [0, 0x40]
    : [random.pick([random.below(22), 128]), random.below(16) << 4];
  for (const [offset, value] of [
    [16, info],
    [17, rmid],
  ] as const)
    out[positionIn(rec.startLsn, offset, corpus.segmentSize) - startLsn] = value;
  sealRecord(out, startLsn, rec.startLsn, corpus.segmentSize);
  return whole(`type ${rmid}/0x${info.toString(16)} for the record at ${formatLsn(rec.startLsn)}`, out);
};

const flipAnywhere: Damager = ({ bytes, damageEnd }, _corpus, random) => {
  const out = Buffer.from(bytes);
  const at: number[] = [];
  for (let n = 1 + random.below(4); n > 0; n--) at.push(random.below(damageEnd));
  for (const position of at) out[position] = damagedByte(out[position]!, random);
  return whole(`bytes at ${at.join(', ')}`, out);
};

const flipPageHeader: Damager = (stretch, corpus, random) => {
  const page = drawPage(stretch, random);
  if (page === null) return flipAnywhere(stretch, corpus, random);
  const out = Buffer.from(stretch.bytes);
  const size = (stretch.startLsn + page) % corpus.segmentSize === 0 ? LONG_HEADER : SHORT_HEADER;
  const offset = random.below(size);
  out[page + offset] = damagedByte(out[page + offset]!, random);
  return whole(`byte ${offset} of the page header at ${formatLsn(stretch.startLsn + page)}`, out);
};

/** A length that no reader should make room for before the bytes are there. */
const hugeLength: Damager = ({ startLsn, bytes, records, damageEnd }, corpus, random) => {
  const out = Buffer.from(bytes);
  const inReach = records.filter((r) => r.startLsn - startLsn < damageEnd);
  const rec = random.pick(inReach.length > 0 ? inReach : records);
  const length = random.pick([0x3fc00000, 0x3fbfffff, 0x7fffffff, 0xffffffff, 0, 1, 23, rec.raw.length + 8, rec.raw.length + 9000]); // prettier-ignore
  for (let i = 0; i < 4; i++)
    out[positionIn(rec.startLsn, i, corpus.segmentSize) - startLsn] = (length >>> (8 * i)) & 0xff;
  return whole(`length ${length} for the record at ${formatLsn(rec.startLsn)}`, out);
};

const cut: Damager = ({ bytes, damageEnd }, corpus, random) => {
  const at = random.below(damageEnd);
  const kept = bytes.subarray(0, at);
  // A preallocated file goes on with zeros, a recycled one with what was there before.
  const kind = random.below(3);
  const from = random.below(Math.max(1, corpus.bytes.length - 4 * PAGE));
  const rest = [Buffer.alloc(0), Buffer.alloc(3 * PAGE), corpus.bytes.subarray(from, from + 3 * PAGE)][kind]!;
  const what = `cut at ${at}${['', ', then zeros', ', then other log'][kind]}`;
  return { what, bytes: Buffer.concat([kept, rest]), cut: kind === 0 };
};

const zeroPage: Damager = (stretch, corpus, random) => {
  const page = drawPage(stretch, random);
  if (page === null) return flipAnywhere(stretch, corpus, random);
  const out = Buffer.from(stretch.bytes);
  // Whole, or a sector of it.
  const from = page + (random.chance(0.5) ? 0 : 512 * random.below(16));
  const size = from === page ? PAGE : 512;
  out.fill(0, from, from + size);
  return whole(`${size} zeros at ${from}`, out);
};

const copyPage: Damager = (stretch, corpus, random) => {
  const [from, to] = [drawPage(stretch, random), drawPage(stretch, random)];
  if (from === null || to === null) return flipAnywhere(stretch, corpus, random);
  const out = Buffer.from(stretch.bytes);
  const swap = random.chance(0.5);
  stretch.bytes.copy(out, to, from, from + PAGE);
  if (swap) stretch.bytes.copy(out, from, to, to + PAGE);
  return whole(`page at ${from} ${swap ? 'swapped with' : 'copied over'} that at ${to}`, out);
};

/** The bytes of another segment at the same offset, as when files are mixed up. */
const otherSegment: Damager = (stretch, corpus, random) => {
  const page = drawPage(stretch, random);
  if (page === null) return flipAnywhere(stretch, corpus, random);
  const out = Buffer.from(stretch.bytes);
  const { segmentSize } = corpus;
  const here = stretch.startLsn + page - corpus.startLsn;
  const others: number[] = [];
  for (let at = here % segmentSize; at + PAGE <= corpus.bytes.length; at += segmentSize)
    if (at !== here) others.push(at);
  if (others.length === 0) return flipAnywhere(stretch, corpus, random);
  const from = random.pick(others);
  corpus.bytes.copy(out, page, from, Math.min(from + out.length - page, corpus.bytes.length));
  return whole(`from ${page} on the bytes of another segment`, out);
};

/** Bytes lost or doubled: everything after them is in the wrong place. */
const shift: Damager = ({ bytes, damageEnd }, _corpus, random) => {
  const at = random.below(damageEnd);
  const count = random.pick([1, 8, 24, 512, PAGE]);
  const lost = random.chance(0.5);
  const rest = bytes.subarray(lost ? at + count : Math.max(0, at - count));
  return { what: `${count} bytes ${lost ? 'lost' : 'doubled'} at ${at}`, bytes: Buffer.concat([bytes.subarray(0, at), rest]), cut: false }; // prettier-ignore
};

const DAMAGERS: readonly (readonly [weight: number, Damager])[] = [
  [50, flipRecord],
  [8, otherType],
  [8, flipAnywhere],
  [10, flipPageHeader],
  [6, hugeLength],
  [8, cut],
  [5, zeroPage],
  [5, copyPage],
  [3, otherSegment],
  [5, shift],
];
const TOTAL_WEIGHT = DAMAGERS.reduce((sum, [weight]) => sum + weight, 0);

export function damage(stretch: Stretch, corpus: Corpus, random: Random): Damage {
  let draw = random.below(TOTAL_WEIGHT);
  const [, damager] = DAMAGERS.find(([weight]) => (draw -= weight) < 0)!;
  const drawn = damager(stretch, corpus, random);
  return { ...drawn, firstChange: firstDifference(stretch.bytes, drawn.bytes) };
}

/** Damages the bytes of one record and makes the checksum fit again. */
export function damageRecord(rec: WalRecord, random: Random): Buffer {
  const raw = Buffer.from(rec.raw);
  const total = raw.length;
  const [from, to] = random.pick([
    [16, 18],
    [24, Math.min(total, 60)],
    [24, total],
    [Math.max(24, total - 64), total],
  ] as const);
  for (let n = 1 + random.below(3); n > 0 && to > from; n--) {
    const at = from + random.below(to - from);
    raw[at] = damagedByte(raw[at]!, random);
  }
  raw.writeUInt32LE(recordCrc(raw), 20);
  return raw;
}

function damagedByte(byte: number, random: Random): number {
  const kind = random.below(4);
  if (kind === 0) return byte ^ (1 << random.below(8));
  if (kind === 1) return random.below(256);
  if (kind === 2) return byte === 0 ? 0xff : 0;
  return (byte + (random.chance(0.5) ? 1 : 255)) & 0xff;
}

/** Offset of a page that begins in the part to damage; null if none does. */
function drawPage({ startLsn, damageEnd, bytes }: Stretch, random: Random): number | null {
  const first = (PAGE - (startLsn % PAGE)) % PAGE;
  const last = Math.min(damageEnd, bytes.length - PAGE);
  if (first >= last) return null;
  return first + PAGE * random.below(Math.floor((last - 1 - first) / PAGE) + 1);
}

/** LSN of byte `offset` of the record that begins at `start`: page headers lie in between. */
export function positionIn(start: Lsn, offset: number, segmentSize: number): Lsn {
  let at: number = start;
  for (let left = offset; ;) {
    const room = PAGE - (at % PAGE);
    if (left < room) return lsn(at + left);
    left -= room;
    at += room;
    at += at % segmentSize === 0 ? LONG_HEADER : SHORT_HEADER;
  }
}

/** Computes the checksum of the record at `start` for the length that it claims now, if its bytes are all there. */
function sealRecord(out: Buffer, streamStart: Lsn, start: Lsn, segmentSize: number): void {
  const at = (offset: number): number => positionIn(start, offset, segmentSize) - streamStart;
  let total = 0;
  for (let i = 0; i < 4; i++) total += out[at(i)]! * 2 ** (8 * i);
  if (total < 24 || total > 1_000_000 || at(total - 1) >= out.length) return;
  const raw = Buffer.allocUnsafe(total);
  for (let have = 0; have < total;) {
    const from = at(have);
    const room = PAGE - ((streamStart + from) % PAGE);
    have += out.copy(raw, have, from, from + Math.min(room, total - have));
  }
  const crc = recordCrc(raw);
  for (let i = 0; i < 4; i++) out[at(20 + i)] = (crc >>> (8 * i)) & 0xff;
}

function firstDifference(a: Buffer, b: Buffer): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 256) {
    const end = Math.min(length, at + 256);
    if (a.compare(b, at, end, at, end) === 0) continue;
    for (let i = at; i < end; i++) if (a[i] !== b[i]) return i;
  }
  return length;
}
