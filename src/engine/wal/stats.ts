/** Counts and sizes per resource manager and record type, as pg_waldump --stats (xlogstats.c, XLogDumpDisplayStats). */
import { formatLsn, INVALID_LSN, type Lsn } from '../lsn.js';
import { imageBytes, recordTypeName, RMGR_RECORD_TYPES, rmgrName } from './describe.js';
import type { WalRecord } from './types.js';

export interface WalStatsRow {
  /** Resource manager. */
  readonly rmgr: string;
  /** Record type; absent in rows per resource manager. */
  readonly type?: string;
  readonly count: number;
  /** Bytes of the records without page images. */
  readonly recordBytes: number;
  readonly fpiBytes: number;
}

interface Sums {
  count: number;
  recordBytes: number;
  fpiBytes: number;
}

const XACT_RMID = 1;

export class WalStats {
  /** Start of the first and end of the last record counted. */
  startLsn: Lsn = INVALID_LSN;
  endLsn: Lsn = INVALID_LSN;
  private readonly sums = new Map<number, Sums>(); // key: rmid << 8 | opcode

  add(rec: WalRecord): void {
    if (this.startLsn === INVALID_LSN) this.startLsn = rec.startLsn;
    this.endLsn = rec.endLsn;
    // The top bit of a Transaction's opcode only says that an xinfo word follows.
    const opcode = rec.rmid === XACT_RMID ? rec.info & 0x70 : rec.info & 0xf0;
    const key = (rec.rmid << 8) | opcode;
    let sums = this.sums.get(key);
    if (sums === undefined) {
      sums = { count: 0, recordBytes: 0, fpiBytes: 0 };
      this.sums.set(key, sums);
    }
    const fpi = imageBytes(rec);
    sums.count++;
    sums.recordBytes += rec.raw.length - fpi;
    sums.fpiBytes += fpi;
  }

  /** One row per record type seen, in the order of ids and opcodes. */
  byRecordType(): WalStatsRow[] {
    return [...this.sums.entries()]
      .sort(([a], [b]) => a - b)
      .map(([key, sums]) => ({
        rmgr: rmgrName(key >> 8),
        type: recordTypeName(key >> 8, key & 0xff),
        ...sums,
      }));
  }

  /** One row per built-in resource manager, also those not seen, and per extension's seen. */
  byRmgr(): WalStatsRow[] {
    const rows = new Map<number, Sums>(
      RMGR_RECORD_TYPES.map(({ rmid }) => [rmid, { count: 0, recordBytes: 0, fpiBytes: 0 }]),
    );
    for (const [key, sums] of [...this.sums.entries()].sort(([a], [b]) => a - b)) {
      const row = rows.get(key >> 8) ?? { count: 0, recordBytes: 0, fpiBytes: 0 };
      row.count += sums.count;
      row.recordBytes += sums.recordBytes;
      row.fpiBytes += sums.fpiBytes;
      rows.set(key >> 8, row);
    }
    return [...rows.entries()].map(([rmid, sums]) => ({ rmgr: rmgrName(rmid), ...sums }));
  }

  total(): { count: number; recordBytes: number; fpiBytes: number } {
    const total = { count: 0, recordBytes: 0, fpiBytes: 0 };
    for (const sums of this.sums.values()) {
      total.count += sums.count;
      total.recordBytes += sums.recordBytes;
      total.fpiBytes += sums.fpiBytes;
    }
    return total;
  }

  /** The table of pg_waldump --stats (`rmgr`) or --stats=record (`record`); empty before the first record. */
  format(per: 'rmgr' | 'record' = 'rmgr'): string {
    if (this.endLsn === INVALID_LSN) return '';
    const total = this.total();
    const bytes = total.recordBytes + total.fpiBytes;
    const titles = ['N', '(%)', 'Record size', '(%)', 'FPI size', '(%)', 'Combined size', '(%)'];
    const header = (name: string, columns: string[]): string =>
      name.padEnd(27) + columns.map((c, i) => ` ${c.padStart(i % 2 === 0 ? 20 : 8)}`).join('');
    const lines = [
      `WAL statistics between ${formatLsn(this.startLsn)} and ${formatLsn(this.endLsn)}:`,
      header('Type', titles),
      header(
        '----',
        titles.map((t) => '-'.repeat(t.length)),
      ),
    ];
    const cell = (n: number, of: number): string => {
      const percent = (of === 0 ? 0 : (100 * n) / of).toFixed(2).padStart(6);
      return ` ${String(n).padStart(20)} (${percent})`;
    };
    for (const row of per === 'rmgr' ? this.byRmgr() : this.byRecordType()) {
      lines.push(
        (row.type === undefined ? row.rmgr : `${row.rmgr}/${row.type}`).padEnd(27) +
          cell(row.count, total.count) +
          cell(row.recordBytes, total.recordBytes) +
          cell(row.fpiBytes, total.fpiBytes) +
          cell(row.recordBytes + row.fpiBytes, bytes),
      );
    }
    const dashes = '-'.repeat(8);
    lines.push(header('', [dashes, '', dashes, '', dashes, '', dashes]));
    const share = (n: number): string => `[${(bytes === 0 ? 0 : (100 * n) / bytes).toFixed(2)}%]`.padEnd(9);
    const number = (n: number): string => String(n).padStart(20);
    lines.push(
      `${'Total'.padEnd(27)} ${number(total.count)} ${' '.repeat(9)}${number(total.recordBytes)} ` +
        `${share(total.recordBytes)}${number(total.fpiBytes)} ${share(total.fpiBytes)}${number(bytes)} [100%]`,
    );
    return lines.join('\n');
  }
}
