// aurora top's picture: at any size of the terminal no line is wider and no more lines are drawn; the columns that matter most stay; lag and
// trouble are marked; curves are scaled to their highest value; units are short and right at their borders.
import assert from 'node:assert/strict';
import type { TopCompute, TopNode, TopReport } from '../../src/inspect/top.js';
import { TopHistory, topLines } from '../../src/inspect/top-print.js';
import { percent, shortBytes, shortCount, shortMs } from '../../src/inspect/units.js';
import type { ToneLine } from '../../src/inspect/tone.js';

const NODE: TopNode = {
  id: '1',
  address: '127.0.0.1:40123',
  state: 'running',
  voter: true,
  epoch: 3,
  scl: '12/AB345678',
  applied: '12/AB345000',
  gcLsn: '12/A0000000',
  lagBytes: 0,
  applyLagBytes: 1656,
  logBytesPerSecond: 65_536,
  recordsPerSecond: 1400,
  pagesPerSecond: 12,
  ingestBusy: 0.125,
  readsPerSecond: 31,
  readShare: 0.5,
  readLatencyMs: 0.42,
  logBytes: 30 * 2 ** 20,
  pagesBytes: 46 * 2 ** 20,
  freeBytes: 77 * 2 ** 30,
  problem: null,
};
const COMPUTE: TopCompute = {
  name: 'primary',
  role: 'primary',
  state: 'running',
  port: 5432,
  epoch: 3,
  startLsn: '12/A0000000',
  commitLsn: '12/AB345678',
  commitsPerSecond: 1402,
  rollbacksPerSecond: 0,
  commitLatencyMs: 4.27,
  walBytesPerSecond: 1.5 * 2 ** 20,
  cacheHitRatio: 0.987,
  blocksFetchedPerSecond: 8,
  sessions: 5,
  activeSessions: 4,
  replayLsn: null,
  lagBytes: null,
  lagMs: null,
  leaseLsn: '12/A0000000',
  leaseBytes: 188_175_992,
  problem: null,
};

function report(nodes: Partial<TopNode>[] = [{}, {}, {}], compute: Partial<TopCompute> = {}): TopReport {
  return {
    at: '2026-01-01T00:00:00.000Z',
    intervalMs: 1000,
    directory: '/var/lib/aurora/a-cluster-with-a-long-name',
    volume: { id: 'v', copies: 3, writeQuorum: 2, readQuorum: 2, epoch: 3, commitLsn: '12/AB345678', appliedLsn: '12/AB345000' }, // prettier-ignore
    storage: nodes.map((node, i) => ({ ...NODE, id: String(i + 1), ...node })),
    computes: [{ ...COMPUTE, ...compute }],
  };
}

const textOf = (line: ToneLine): string => line.map(({ text }) => text).join('');
const texts = (lines: ToneLine[]): string[] => lines.map(textOf);

describe('aurora top, drawn', () => {
  it('fits into any terminal from 50 x 5 on', () => {
    const history = new TopHistory();
    for (let i = 0; i < 300; i++) history.add(report([{}, {}, {}], { commitsPerSecond: i }));
    const trouble = report([{ problem: 'log damaged at 0/1 '.repeat(20) }, { state: 'down', scl: null }]);
    const withReplica = report();
    withReplica.computes.push({ ...COMPUTE, name: 'r1', role: 'replica', lagBytes: 2 ** 26, lagMs: 340 });
    for (let columns = 50; columns <= 240; columns++)
      for (const rows of [5, 12, 22, 48])
        for (const shown of [report(), trouble, withReplica]) {
          const lines = texts(topLines(shown, { columns, rows }, history));
          assert.ok(lines.length <= rows, `${lines.length} lines in ${rows}`);
          for (const line of lines) assert.ok(line.trimEnd().length <= columns, `${columns}: ${line}`);
        }
  });

  it('shows what matters at 80 columns, and everything at 200', () => {
    const narrow = texts(topLines(report(), { columns: 80, rows: 22 })).join('\n');
    for (const title of [
      'SCL',
      'LAG',
      'APPLY LAG',
      'LOG/s',
      'SHARE',
      'TPS',
      'COMMIT ms',
      'WAL/s',
      'CACHE HIT',
    ])
      assert.ok(narrow.includes(title), title);
    assert.match(narrow, /^1 +running +12\/AB345678 +0 B +1\.6 kB +64 kB +50% +0\.42 /m);
    assert.match(narrow, /^primary +primary +running +1402 +4\.27 +1\.5 MB +98\.7% +8/m);
    const wide = texts(topLines(report(), { columns: 200, rows: 48 })).join('\n');
    for (const title of [
      'ADDRESS',
      'EPOCH',
      'APPLIED',
      'GC',
      'RECORDS/s',
      'BUSY',
      'FREE',
      'ROLLBACKS/s',
      'ACTIVE',
    ])
      assert.ok(wide.includes(title), title);
  });

  it('shows how far behind a replica is at 80 columns, in bytes and time, and the leases where there is room', () => {
    const both = report();
    const reader = { name: 'reader1', role: 'replica', lagBytes: 2 ** 26, lagMs: 340, replayLsn: '12/A0000000' }; // prettier-ignore
    both.computes.push({ ...COMPUTE, ...reader, commitsPerSecond: null, commitLatencyMs: null, walBytesPerSecond: null }); // prettier-ignore
    const narrow = topLines(both, { columns: 80, rows: 22 });
    const shown = texts(narrow).join('\n');
    assert.match(shown, /LAG +LAG ms +CACHE HIT/);
    assert.match(shown, /^primary +(?:primary +)?running +1402 +4\.27 +1\.5 MB +- +- +98\.7%/m);
    assert.match(shown, /^reader1 +(?:replica +)?running +- +- +- +64 MB +340 +98\.7%/m);
    assert.equal(narrow.flat().find(({ text }) => text.trim() === '64 MB')?.tone, 'doubtful');
    const wide = texts(topLines(both, { columns: 200, rows: 48 })).join('\n');
    assert.match(wide, /LEASE +LEASE LSN/);
    assert.match(wide, /^primary .* 179 MB +12\/A0000000/m);
  });

  it('marks a node that is down, one that lags and what is wrong', () => {
    const shown = topLines(
      report([{ state: 'down', problem: 'connect ECONNREFUSED' }, { lagBytes: 2 ** 26 }, { voter: false }], {
        state: 'stalled',
        problem: 'commits wait',
      }),
      { columns: 120, rows: 22 },
    );
    const toned = (text: string): string[] =>
      shown.flat().filter((part) => part.text.trim() === text).map(({ tone }) => tone); // prettier-ignore
    assert.deepEqual(toned('down'), ['bad']);
    assert.deepEqual(toned('64 MB'), ['doubtful']);
    assert.deepEqual(toned('running, learner'), ['doubtful']);
    assert.deepEqual(toned('stalled'), ['doubtful']);
    assert.ok(texts(shown).includes('storage 1: connect ECONNREFUSED'));
    assert.ok(texts(shown).includes('compute primary: commits wait'));
  });

  it('draws the newest sample last, and nothing where nothing is known', () => {
    const history = new TopHistory();
    for (const commitsPerSecond of [null, 0, 50, 100]) history.add(report([{}], { commitsPerSecond }));
    const [curve] = texts(topLines(report([{}]), { columns: 80, rows: 30 }, history)).filter((line) => line.startsWith('commits/s')); // prettier-ignore
    assert.match(curve!, /^commits\/s {6} {1}▁▅█ +max 100$/);
  });
});

describe('short units', () => {
  it('change where they should', () => {
    assert.deepEqual([0, 999, 1000, 10_189, 1_023_000, 2 ** 30, null].map(shortBytes), ['0 B', '999 B', '1.0 kB', '10 kB', '999 kB', '1.0 GB', '-']); // prettier-ignore
    assert.deepEqual([0, 0.5, 9.94, 1402, 9999, 10_400, 2_100_000, null].map(shortCount), ['0', '0.5', '9.9', '1402', '9999', '10k', '2.1M', '-']); // prettier-ignore
    assert.deepEqual([0.417, 9.99, 12.34, 350.4, null].map(shortMs), ['0.42', '9.99', '12.3', '350', '-']);
    assert.deepEqual([0, 0.5, 0.3333, 0.9999, 1, null].map(percent), [
      '0%',
      '50%',
      '33.3%',
      '100%',
      '100%',
      '-',
    ]);
  });
});
