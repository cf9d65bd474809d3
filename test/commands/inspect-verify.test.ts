/** `aurora inspect wal --verify`, on the log of a real PostgreSQL: what it finds, what it says, and how it exits. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { formatLsn, lsn, type Lsn } from '../../src/engine/lsn.js';
import { segmentFileName } from '../../src/engine/wal/segments.js';
import { alterLog } from '../helpers/redo-alter.js';
import { runSqlFile } from '../helpers/redo-workload.js';
import { recordLog, type RecordedLog } from '../engine/pages/recorded-log.js';
import { MiniWriter, TestVolume } from '../storage/volume.js';
import { aurora, tempFolder, type CliResult } from './cli.js';

const SEGMENT = 16 * 1024 * 1024;

interface Report {
  verified: boolean;
  start: string;
  end: string;
  base: string | null;
  records: number;
  compared: number;
  mismatched: number;
  failed: number;
  problem: string | null;
  mismatches: string[];
  types: { type: string; seen: number; compared: number; mismatched: number; adopted: number }[];
}

/** What else it says: how far it has come is said every ten seconds, on a busy machine more than once. */
const withoutProgress = (stderr: string): string => stderr.replace(/^verifying: \d+ .*\n/gm, '');

describe('aurora inspect wal --verify', function () {
  this.timeout(120_000);
  let log: RecordedLog;
  let dir: string;
  let remove: () => Promise<void>;
  /** The log's last segment is not full; it begins with this LSN. */
  let lastLsn: Lsn;

  before(async () => {
    ({ dir, remove } = await tempFolder());
    log = await recordLog({ full_page_writes: 'off', wal_consistency_checking: 'all' }, async (server) => {
      const client = await server.client();
      await runSqlFile(client, 'btree.sql');
      await client.query("CREATE TABLE t AS SELECT g AS id, 'row ' || g AS t FROM generate_series(1, 100) g");
      await client.query('INSERT INTO t SELECT g FROM generate_series(1, 500) g');
    });
    lastLsn = log.records.at(-1)!.startLsn;
  });
  after(async () => {
    await log?.destroy();
    await remove?.();
  });

  const verify = (...args: string[]): Promise<CliResult> => aurora(['inspect', 'wal', '--verify', ...args]);
  const wal = (): string => path.join(log.finalDir, 'pg_wal');
  const segmentAt = (at: Lsn): string => segmentFileName(1, Math.floor(at / SEGMENT), SEGMENT);

  async function json(...args: string[]): Promise<Report> {
    const result = await verify('--json', ...args);
    assert.ok(result.stdout.startsWith('{'), result.stderr);
    return JSON.parse(result.stdout) as Report;
  }

  /** A copy of the log's folder, in which `change` changed the segment that holds `at`. */
  async function changedLog(name: string, at: Lsn, change: (bytes: Buffer) => void): Promise<string> {
    const folder = path.join(dir, name);
    await fs.cp(wal(), folder, { recursive: true });
    const file = path.join(folder, segmentAt(at));
    const bytes = await fs.readFile(file);
    change(bytes);
    await fs.writeFile(file, bytes);
    return folder;
  }

  it('verifies a log upon its base: status 0, a table of record types', async () => {
    const { status, stdout, stderr } = await verify('--base', log.baseDir, wal());
    assert.deepEqual([status, withoutProgress(stderr)], [0, '']);
    assert.match(stdout, /^record type +seen +applied +restored +compared +mismatched$/m);
    const row = /^Heap\/INSERT +(\d+) +(\d+) +0 +(\d+) +0$/m.exec(stdout)!;
    assert.ok(Number(row[1]) > 500 && row[1] === row[2] && row[1] === row[3], row[0]);
    assert.match(stdout, new RegExp(`^${log.records.length + 1} records from .* to `, 'm'));
    assert.match(stdout, /^base: data directory .* as of LSN 0\/[0-9A-F]+$/m);
    assert.match(stdout, /^\d+ pages compared, all as PostgreSQL made them$/m);
  });

  it('says the same as JSON', async () => {
    const report = await json('--base', log.baseDir, log.finalDir);
    assert.deepEqual([report.verified, report.mismatched, report.failed, report.problem], [true, 0, 0, null]);
    assert.equal(report.end, formatLsn(log.records.at(-1)!.endLsn));
    assert.equal(
      report.types.reduce((sum, { seen }) => sum + seen, 0),
      report.records,
    );
    assert.ok(report.types.some(({ type, compared }) => type === 'Btree/SPLIT_R' && compared > 0));
  });

  it('believes the first image of each page without a base, and compares the others', async () => {
    const report = await json('--start', formatLsn(log.importLsn), wal());
    const insert = report.types.find(({ type }) => type === 'Btree/INSERT_LEAF')!;
    assert.equal(report.verified, true);
    assert.ok(insert.adopted > 0 && insert.compared > 0 && insert.adopted + insert.compared === insert.seen);
  });

  it('finds one altered byte, shows both pages and the record: status 1', async () => {
    let place = '';
    const folder = await changedLog('altered', log.importLsn, (bytes) => {
      const offset = log.importLsn % SEGMENT;
      const { altered } = alterLog(bytes.subarray(offset), log.importLsn, lsn(log.importLsn + 100_000));
      place = formatLsn(altered.startLsn);
    });
    const { status, stdout } = await verify('--base', log.baseDir, folder);
    assert.equal(status, 1);
    assert.match(stdout, new RegExp(`^${place} Heap/INSERT block 0 = .*: 1 byte\\(s\\) differ`, 'm'));
    assert.match(stdout, /^rmgr: Heap .*desc: INSERT/m);
    assert.match(stdout, /^ {4}here +xmin.*\n {4}PostgreSQL +xmin/m);
    // PostgreSQL's next image of the page is right again, and then differs from the lie.
    assert.match(stdout, /^Heap\/INSERT( +\d+){4} +[12]$/m);
    assert.match(stdout, /^\d+ pages compared, [12] mismatched$/m);
    const report = await json('--base', log.baseDir, folder);
    assert.ok(!report.verified && report.mismatched > 0);
    assert.equal(report.mismatches.length, report.mismatched);
    // Judged by other types, or up to there, the log is right.
    assert.equal((await verify('--base', log.baseDir, folder, '-q', '--rmgr', 'Btree')).status, 0);
    const before = await verify('--base', log.baseDir, folder, '-q', '--end', place);
    assert.deepEqual([before.status, before.stdout, withoutProgress(before.stderr)], [0, '', '']);
  });

  it('judges what --start, --limit and the filters say, upon a replay of everything', async () => {
    const from = log.records[Math.floor(log.records.length / 2)]!;
    const report = await json('--base', log.baseDir, '--start', formatLsn(from.startLsn), '-n', '50', wal());
    assert.deepEqual([report.start, report.records, report.mismatched], [formatLsn(from.startLsn), 50, 0]);
    assert.ok(report.compared > 0);
    const heap = await json('--base', log.baseDir, '-r', 'Heap', path.join(wal(), segmentAt(lastLsn)));
    assert.ok(heap.types.every(({ type }) => type.startsWith('Heap/')));
    assert.ok(heap.compared > 0 && heap.mismatched === 0);
    assert.equal(Math.floor(parseInt(heap.start.slice(2), 16) / SEGMENT), Math.floor(lastLsn / SEGMENT));
  });

  it('tells a damaged log from its end: status 1', async () => {
    const at = log.records[Math.floor(log.records.length / 3)]!;
    const folder = await changedLog('damaged', at.startLsn, (bytes) => {
      const offset = (at.startLsn % SEGMENT) + 30;
      bytes[offset] = bytes[offset]! ^ 1;
    });
    const { status, stdout } = await verify('--base', log.baseDir, folder);
    assert.equal(status, 1);
    assert.match(
      stdout,
      new RegExp(`the log cannot be read beyond .*: WAL record at ${formatLsn(at.startLsn)} has checksum`),
    );
    const cut = await changedLog('cut', lastLsn, (bytes) => bytes.fill(0));
    await fs.cp(path.join(log.finalDir, 'global'), path.join(dir, 'global'), { recursive: true });
    const zeros = await verify('-q', cut);
    assert.equal(zeros.status, 1);
    assert.match(zeros.stdout, /the cluster's last checkpoint is at/);
  });

  it('has nothing to say of a log without images, and says what to set', async () => {
    const plain = await recordLog({}, async (server) => {
      await server.sql('CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 100)');
    });
    try {
      const { status, stdout, stderr } = await verify('--base', plain.baseDir, plain.finalDir);
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, /error: nothing was verified: the \d+ records hold no page images/);
      assert.match(stderr, /hint: .*wal_consistency_checking = all/);
      const other = await verify('--base', plain.baseDir, wal());
      assert.match(other.stderr, /error: the log was written by another cluster/);
    } finally {
      await plain.destroy();
    }
  });

  it('refuses bases that are none', async () => {
    for (const [args, says] of [
      [['--base', path.join(dir, 'none'), wal()], /is not a PostgreSQL data directory/],
      [
        ['--base', log.finalDir, '--end', formatLsn(lastLsn), wal()],
        /the base is .* as of LSN .*, but the log/,
      ],
      [['--follow', wal()], /--follow/],
    ] as const) {
      const { status, stderr } = await verify(...args);
      assert.equal(status, 1);
      assert.match(stderr, says);
    }
    const { stderr } = await aurora(['inspect', 'wal', '--base', dir, wal()]);
    assert.match(stderr, /--verify/);
  });

  it("takes a stopped node's own pages as the base, and leaves them as they are", async () => {
    const volume = await TestVolume.create(
      ['n1', 'n2'],
      [
        "ALTER SYSTEM SET wal_consistency_checking = 'all'",
        'SELECT pg_reload_conf()',
        'CREATE TABLE t (id int PRIMARY KEY, t text)',
        "INSERT INTO t SELECT g, 'text ' || g FROM generate_series(1, 3000) g",
        'UPDATE t SET id = id + 10000 WHERE id % 3 = 0',
      ],
    );
    try {
      const writer = new MiniWriter(volume, 1, 'writer');
      for (const { id } of volume.nodes) {
        await volume.start(id);
        await writer.join(id);
      }
      await writer.lead();
      writer.write(volume.recording.end);
      await writer.committed(volume.recording.end);
      await (await volume.client('n1')).waitApplied({ lsn: volume.recording.end, timeoutMs: 20_000 });
      writer.close();
      await volume.stop('n1');
      const node = volume.node('n1').dir;
      const names = async (): Promise<string[]> => (await fs.readdir(path.join(node, 'pages'))).sort();
      const before = await names();
      const report = await json(node);
      assert.deepEqual([report.verified, report.mismatched], [true, 0]);
      assert.equal(report.start, formatLsn(volume.recording.importLsn));
      assert.match(report.base!, /^pages of storage node .* as of LSN/);
      assert.ok(report.compared > 2000 && report.types.every(({ adopted }) => adopted === 0));
      const middle = volume.recording.recordEnds[Math.floor(volume.recording.recordEnds.length / 2)]!;
      const later = await json(node, '--start', formatLsn(middle));
      assert.ok(later.verified && later.compared > 500 && later.records < report.records);
      assert.deepEqual(await names(), before);
    } finally {
      await volume.destroy();
    }
  });
});
