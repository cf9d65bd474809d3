/** What a stretch of log consists of, in one table: bytes by record type as bars, by relation, or by time. */
import { parseXactEnd, XACT_OPMASK, XactOp } from '../engine/control/xact-record.js';
import { formatLsn, INVALID_LSN, type Lsn } from '../engine/lsn.js';
import { imageBytes } from '../engine/wal/describe.js';
import { WalStats } from '../engine/wal/stats.js';
import { Rmgr, type WalRecord } from '../engine/wal/types.js';
import { tableLines } from './table.js';
import { paintLines, piece } from './tone.js';
import { percent, shortBytes } from './units.js';

export type SummaryKind = 'chart' | 'relation' | 'tps';

/** Takes records in the order of the log. */
export interface WalSummary {
  add(rec: WalRecord): void;
  text(width: number): string;
  json(): object;
}

/** `per`: what the chart's bars stand for. */
export function walSummary(kind: SummaryKind, per: 'rmgr' | 'record'): WalSummary {
  if (kind === 'chart') return new Chart(per);
  return kind === 'relation' ? new ByRelation() : new ByTime();
}

const BAR_MAX = 40;
/** In place of a relation, for records that change no block. */
const NONE = 'none';

class Span {
  startLsn: Lsn = INVALID_LSN;
  endLsn: Lsn = INVALID_LSN;

  add(rec: WalRecord): void {
    if (this.startLsn === INVALID_LSN) this.startLsn = rec.startLsn;
    this.endLsn = rec.endLsn;
  }

  json(): { start: string; end: string } {
    return { start: formatLsn(this.startLsn), end: formatLsn(this.endLsn) };
  }

  title(what: string): string {
    return `${what} between ${formatLsn(this.startLsn)} and ${formatLsn(this.endLsn)}`;
  }
}

class Chart implements WalSummary {
  private readonly stats = new WalStats();
  private readonly span = new Span();

  constructor(private readonly per: 'rmgr' | 'record') {}

  add(rec: WalRecord): void {
    this.span.add(rec);
    this.stats.add(rec);
  }

  text(width: number): string {
    const rows = this.rows();
    const total = rows.reduce((sum, { bytes }) => sum + bytes, 0);
    const most = rows[0]?.bytes ?? 0;
    const what = this.per === 'rmgr' ? 'resource manager' : 'record type';
    const bars = Math.max(8, Math.min(BAR_MAX, width - 58));
    const lines = tableLines(
      [
        { title: what, cell: ({ name }) => name },
        { title: 'bytes', align: 'right', cell: ({ bytes }) => shortBytes(bytes) },
        { title: '%', align: 'right', cell: ({ bytes }) => percent(total === 0 ? 0 : bytes / total) },
        { title: 'records', rank: 2, align: 'right', cell: ({ count }) => String(count) },
        { title: '', cell: ({ bytes }) => piece(bar(bytes, most, bars), 'good') },
      ],
      rows,
      width,
    );
    return `${this.span.title('WAL bytes, page images included,')}:\n${paintLines(lines)}`;
  }

  json(): object {
    const rows = this.rows().map(({ name, ...rest }) => ({ type: name, ...rest }));
    return { ...this.span.json(), rows, total: this.stats.total() };
  }

  /** The most bytes first. */
  private rows(): { name: string; count: number; recordBytes: number; fpiBytes: number; bytes: number }[] {
    const rows = this.per === 'rmgr' ? this.stats.byRmgr() : this.stats.byRecordType();
    return rows
      .filter(({ count }) => count > 0)
      .map(({ rmgr, type, ...sums }) => ({
        name: type === undefined ? rmgr : `${rmgr}/${type}`,
        ...sums,
        bytes: sums.recordBytes + sums.fpiBytes,
      }))
      .sort((a, b) => b.bytes - a.bytes);
  }
}

interface RelationSums {
  records: number;
  blocks: Set<number>;
  recordBytes: number;
  fpiBytes: number;
}

/** A record that changes several relations counts for each of them, its bytes in equal parts. */
class ByRelation implements WalSummary {
  private readonly span = new Span();
  private readonly sums = new Map<string, RelationSums>();

  add(rec: WalRecord): void {
    this.span.add(rec);
    const names = new Set(
      rec.blocks.map(({ spcOid, dbOid, relNumber }) => `${spcOid}/${dbOid}/${relNumber}`),
    );
    const own = (rec.raw.length - imageBytes(rec)) / Math.max(1, names.size);
    for (const name of names.size === 0 ? [NONE] : names) {
      const sums = this.of(name);
      sums.records++;
      sums.recordBytes += own;
    }
    for (const { spcOid, dbOid, relNumber, fork, blkno, image } of rec.blocks) {
      const sums = this.of(`${spcOid}/${dbOid}/${relNumber}`);
      sums.blocks.add(blkno * 4 + fork);
      sums.fpiBytes += image?.length ?? 0;
    }
  }

  text(width: number): string {
    const rows = this.rows();
    const total = rows.reduce((sum, { bytes }) => sum + bytes, 0);
    const lines = tableLines(
      [
        { title: 'relation', cell: ({ relation }) => relation },
        { title: 'records', align: 'right', cell: ({ records }) => String(records) },
        { title: 'blocks', align: 'right', cell: ({ blocks }) => String(blocks) },
        {
          title: 'record bytes',
          rank: 2,
          align: 'right',
          cell: ({ recordBytes }) => shortBytes(recordBytes),
        },
        { title: 'images', rank: 2, align: 'right', cell: ({ fpiBytes }) => shortBytes(fpiBytes) },
        { title: 'bytes', align: 'right', cell: ({ bytes }) => shortBytes(bytes) },
        { title: '%', align: 'right', cell: ({ bytes }) => percent(total === 0 ? 0 : bytes / total) },
      ],
      rows,
      width,
    );
    return `${this.span.title('WAL by relation')}:\n${paintLines(lines)}`;
  }

  json(): object {
    return { ...this.span.json(), rows: this.rows() };
  }

  /** `blocks`: how many different ones were changed. */
  private rows(): {
    relation: string;
    records: number;
    blocks: number;
    recordBytes: number;
    fpiBytes: number;
    bytes: number;
  }[] {
    return [...this.sums]
      .map(([relation, { records, blocks, recordBytes, fpiBytes }]) => ({
        relation,
        records,
        blocks: blocks.size,
        recordBytes: Math.round(recordBytes),
        fpiBytes,
        bytes: Math.round(recordBytes) + fpiBytes,
      }))
      .sort((a, b) => b.bytes - a.bytes);
  }

  private of(name: string): RelationSums {
    let sums = this.sums.get(name);
    if (sums === undefined)
      this.sums.set(name, (sums = { records: 0, blocks: new Set(), recordBytes: 0, fpiBytes: 0 }));
    return sums;
  }
}

interface Second {
  commits: number;
  aborts: number;
  records: number;
  bytes: number;
}

/** Microseconds between PostgreSQL's epoch, 2000, and that of Unix. */
const POSTGRES_EPOCH_MS = 946_684_800_000;
const ROWS_MAX = 60;
const STEPS = [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400];

/** By the time of the transactions' ends; records in between count for the end that follows them. */
class ByTime implements WalSummary {
  private readonly span = new Span();
  private readonly seconds = new Map<number, Second>();
  private pending = { records: 0, bytes: 0 };
  private last: Second | null = null;

  add(rec: WalRecord): void {
    this.span.add(rec);
    this.pending.records++;
    this.pending.bytes += rec.raw.length;
    const op = rec.info & XACT_OPMASK;
    const ends: number[] = [XactOp.commit, XactOp.abort, XactOp.commitPrepared, XactOp.abortPrepared];
    if (rec.rmid !== Rmgr.Transaction || !ends.includes(op)) return;
    const { committed, timestamp } = parseXactEnd(rec);
    const second = Math.floor((Number(timestamp.readBigInt64LE(0)) / 1000 + POSTGRES_EPOCH_MS) / 1000);
    const sums = this.seconds.get(second) ?? { commits: 0, aborts: 0, records: 0, bytes: 0 };
    this.seconds.set(second, sums);
    if (committed) sums.commits++;
    else sums.aborts++;
    this.count(sums);
  }

  text(width: number): string {
    const { step, rows } = this.rows();
    const most = Math.max(0, ...rows.map(({ commits }) => commits));
    const bars = Math.max(8, Math.min(BAR_MAX, width - 58));
    const lines = tableLines(
      [
        {
          title: step === 1 ? 'second' : `from, for ${step} s`,
          cell: ({ time }) => time.replace('T', ' ').replace('.000Z', 'Z'),
        },
        {
          title: 'commits/s',
          align: 'right',
          cell: ({ commits }) => String(Math.round((commits / step) * 10) / 10),
        },
        { title: 'aborts', rank: 2, align: 'right', cell: ({ aborts }) => String(aborts) },
        { title: 'WAL/s', align: 'right', cell: ({ bytes }) => shortBytes(bytes / step) },
        { title: '', cell: ({ commits }) => piece(bar(commits, most, bars), 'good') },
      ],
      rows,
      width,
    );
    return `${this.span.title('Transactions')}:\n${paintLines(lines)}`;
  }

  json(): object {
    const { step, rows } = this.rows();
    return { ...this.span.json(), stepSeconds: step, rows };
  }

  /** Times without a transaction have no row. What comes after the last end counts for it. */
  private rows(): { step: number; rows: (Second & { time: string })[] } {
    if (this.last !== null) this.count(this.last);
    const times = [...this.seconds.keys()];
    const length = times.length === 0 ? 0 : Math.max(...times) - Math.min(...times) + 1;
    const step = STEPS.find((seconds) => length / seconds <= ROWS_MAX) ?? STEPS.at(-1)!;
    const steps = new Map<number, Second>();
    for (const [second, sums] of this.seconds) {
      const at = second - (second % step);
      const into = steps.get(at) ?? { commits: 0, aborts: 0, records: 0, bytes: 0 };
      steps.set(at, into);
      for (const name of ['commits', 'aborts', 'records', 'bytes'] as const) into[name] += sums[name];
    }
    const rows = [...steps]
      .sort(([a], [b]) => a - b)
      .map(([at, sums]) => ({ time: new Date(at * 1000).toISOString(), ...sums }));
    return { step, rows };
  }

  private count(sums: Second): void {
    sums.records += this.pending.records;
    sums.bytes += this.pending.bytes;
    this.pending = { records: 0, bytes: 0 };
    this.last = sums;
  }
}

function bar(value: number, most: number, width: number): string {
  return '█'.repeat(most === 0 ? 0 : Math.ceil((value / most) * width));
}
