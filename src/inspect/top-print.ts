/** `aurora top` as lines: everything important in 80 x 24, more columns and curves where there is room. */
import { tableLines, type Column } from './table.js';
import { piece, type Tone, type ToneLine } from './tone.js';
import type { TopCompute, TopNode, TopReport } from './top.js';
import { percent, shortBytes, shortCount, shortMs } from './units.js';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Log that a node may lack, or not have applied, before it is marked. */
const LAG_BYTES_NOTED = 16 * 1024 * 1024;
const FREE_BYTES_NOTED = 1024 * 1024 * 1024;
/** Samples of the curves. */
const HISTORY_MAX = 240;
const BARS = '▁▂▃▄▅▆▇█';
const LABEL_WIDTH = 15;
const SCALE_WIDTH = 11;

const STATES: Readonly<Record<string, Tone>> = {
  running: 'good',
  down: 'bad',
  stopped: 'bad',
  fenced: 'bad',
};

const NODE_COLUMNS: readonly Column<TopNode>[] = [
  { title: 'STORAGE', cell: (n) => piece(n.id, 'strong') },
  { title: 'STATE', cell: (n) => stateCell(n.voter === false ? `${n.state}, learner` : n.state) },
  { title: 'ADDRESS', rank: 9, cell: (n) => n.address },
  { title: 'EPOCH', rank: 8, align: 'right', cell: (n) => number(n.epoch) },
  { title: 'SCL', cell: (n) => n.scl ?? '-' },
  { title: 'APPLIED', rank: 5, cell: (n) => n.applied ?? '-' },
  { title: 'GC', rank: 7, cell: (n) => n.gcLsn ?? '-' },
  { title: 'LAG', align: 'right', cell: (n) => lagCell(n.lagBytes) },
  { title: 'APPLY LAG', align: 'right', cell: (n) => lagCell(n.applyLagBytes) },
  { title: 'LOG/s', rank: 2, align: 'right', cell: (n) => shortBytes(n.logBytesPerSecond) },
  { title: 'RECORDS/s', rank: 6, align: 'right', cell: (n) => shortCount(n.recordsPerSecond) },
  { title: 'BUSY', rank: 6, align: 'right', cell: (n) => percent(n.ingestBusy) },
  { title: 'READS/s', rank: 4, align: 'right', cell: (n) => shortCount(n.readsPerSecond) },
  { title: 'SHARE', rank: 2, align: 'right', cell: (n) => percent(n.readShare) },
  { title: 'ms', rank: 2, align: 'right', cell: (n) => shortMs(n.readLatencyMs) },
  { title: 'LOG', rank: 8, align: 'right', cell: (n) => shortBytes(n.logBytes) },
  { title: 'PAGES', rank: 8, align: 'right', cell: (n) => shortBytes(n.pagesBytes) },
  {
    title: 'DISK',
    rank: 3,
    align: 'right',
    cell: (n) => shortBytes(n.logBytes === null ? null : n.logBytes + (n.pagesBytes ?? 0)),
  },
  {
    title: 'FREE',
    rank: 5,
    align: 'right',
    cell: (n) =>
      piece(
        shortBytes(n.freeBytes),
        n.freeBytes !== null && n.freeBytes < FREE_BYTES_NOTED ? 'doubtful' : 'plain',
      ),
  },
];

const COMPUTE_COLUMNS: readonly Column<TopCompute>[] = [
  { title: 'COMPUTE', cell: (c) => piece(c.name, 'strong') },
  { title: 'ROLE', rank: 2, cell: (c) => c.role },
  { title: 'STATE', cell: (c) => stateCell(c.state) },
  { title: 'PORT', rank: 6, align: 'right', cell: (c) => String(c.port) },
  { title: 'EPOCH', rank: 5, align: 'right', cell: (c) => number(c.epoch) },
  { title: 'COMMIT', rank: 7, cell: (c) => c.commitLsn ?? '-' },
  { title: 'TPS', align: 'right', cell: (c) => shortCount(c.commitsPerSecond) },
  { title: 'ROLLBACKS/s', rank: 6, align: 'right', cell: (c) => shortCount(c.rollbacksPerSecond) },
  { title: 'COMMIT ms', align: 'right', cell: (c) => shortMs(c.commitLatencyMs) },
  { title: 'WAL/s', align: 'right', cell: (c) => shortBytes(c.walBytesPerSecond) },
  { title: 'LAG', rank: 1, align: 'right', cell: (c) => lagCell(c.lagBytes) },
  { title: 'LAG ms', rank: 2, align: 'right', cell: (c) => shortMs(c.lagMs) },
  { title: 'CACHE HIT', rank: 2, align: 'right', cell: (c) => percent(c.cacheHitRatio) },
  { title: 'FETCH/s', rank: 3, align: 'right', cell: (c) => shortCount(c.blocksFetchedPerSecond) },
  {
    title: 'ACTIVE',
    rank: 4,
    align: 'right',
    cell: (c) => (c.sessions === null ? '-' : `${c.activeSessions}/${c.sessions}`),
  },
  { title: 'LEASE', rank: 5, align: 'right', cell: (c) => shortBytes(c.leaseBytes) },
  { title: 'LEASE LSN', rank: 7, cell: (c) => c.leaseLsn ?? '-' },
];
/** Shown where there is a replica. */
const REPLICA_COLUMNS = ['LAG', 'LAG ms'];

interface Curve {
  readonly label: string;
  value(report: TopReport): number | null;
  text(value: number): string;
}

const CURVES: readonly Curve[] = [
  { label: 'commits/s', value: (r) => sum(r.computes.map((c) => c.commitsPerSecond)), text: shortCount },
  { label: 'commit ms', value: (r) => highest(r.computes.map((c) => c.commitLatencyMs)), text: shortMs },
  { label: 'WAL/s', value: (r) => sum(r.computes.map((c) => c.walBytesPerSecond)), text: shortBytes },
  { label: 'reads/s', value: (r) => sum(r.storage.map((n) => n.readsPerSecond)), text: shortCount },
  { label: 'apply lag', value: (r) => highest(r.storage.map((n) => n.applyLagBytes)), text: shortBytes },
];

/** The reports of the last while, for the curves. */
export class TopHistory {
  private readonly reports: TopReport[] = [];

  add(report: TopReport): void {
    this.reports.push(report);
    if (this.reports.length > HISTORY_MAX) this.reports.shift();
  }

  values(pick: (report: TopReport) => number | null, count: number): (number | null)[] {
    return this.reports.slice(-count).map(pick);
  }
}

/** At most `rows` lines of at most `columns` characters. `history`: draw curves too, where there is room. */
export function topLines(report: TopReport, { columns, rows }: Size, history?: TopHistory): ToneLine[] {
  const { volume, storage, computes } = report;
  const quorum = `${volume.copies} copies, write ${volume.writeQuorum}, read ${volume.readQuorum}`;
  const lines: ToneLine[] = [
    [piece(fit(report.directory, columns), 'strong')],
    [piece(fit(`${quorum}  epoch ${number(volume.epoch)}  commit ${volume.commitLsn ?? '-'}  applied ${volume.appliedLsn ?? '-'}`, columns))], // prettier-ignore
    [],
    ...tableLines(NODE_COLUMNS, storage, columns),
    [],
    ...tableLines(computeColumns(computes), computes, columns),
  ];
  const problems = [
    ...storage.map(({ id, problem }) => (problem === null ? null : `storage ${id}: ${problem}`)),
    ...computes.map(({ name, problem }) => (problem === null ? null : `compute ${name}: ${problem}`)),
  ].filter((problem) => problem !== null);
  if (problems.length > 0)
    lines.push([], ...problems.map((text): ToneLine => [piece(fit(text, columns), 'doubtful')]));
  const room = rows - lines.length - 1;
  if (history && room > 0)
    lines.push([], ...CURVES.slice(0, room).map((curve) => curveLine(curve, history, columns)));
  return lines.slice(0, rows);
}

function computeColumns(computes: readonly TopCompute[]): readonly Column<TopCompute>[] {
  const withLag = computes.some(({ lagBytes }) => lagBytes !== null);
  return COMPUTE_COLUMNS.filter(({ title }) => withLag || !REPLICA_COLUMNS.includes(title));
}

/** `commits/s       ▁▂▅▇█▇▆   1402`: the newest sample last, scaled to the highest shown, which stands at the end. */
function curveLine({ label, value, text }: Curve, history: TopHistory, columns: number): ToneLine {
  const width = Math.min(HISTORY_MAX, columns - LABEL_WIDTH - SCALE_WIDTH - 1);
  const values = history.values(value, Math.max(1, width));
  const top = highest(values) ?? 0;
  const bars = values.map((v) =>
    v === null ? ' ' : BARS[top === 0 ? 0 : Math.round((v / top) * (BARS.length - 1))]!,
  );
  return [
    piece(label.padEnd(LABEL_WIDTH), 'faint'),
    piece(bars.join('').padEnd(width)),
    piece(` ${values.every((v) => v === null) ? '-' : `max ${text(top)}`}`, 'faint'),
  ];
}

function stateCell(state: string): ReturnType<typeof piece> {
  return piece(state, STATES[state] ?? 'doubtful');
}

function lagCell(bytes: number | null): ReturnType<typeof piece> {
  return piece(shortBytes(bytes), bytes !== null && bytes > LAG_BYTES_NOTED ? 'doubtful' : 'plain');
}

function number(value: number | null): string {
  return value === null ? '-' : String(value);
}

function fit(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0);
}

function highest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
