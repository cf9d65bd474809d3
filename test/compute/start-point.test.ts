/**
 * PostgreSQL starts from the checkpoint that we write at X, wherever X falls: on a page or segment boundary, or so close before one that the
 * checkpoint record is cut in two there, headers and all. The log is steered to each such place by a padding record, then the
 * compute is killed; after the start the log must have gone on from exactly there, and everything must be right and writable.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { formatLsn, parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { eventually, TestCluster } from '../helpers/cluster.js';

const PAGE = 8192;
const SEGMENT = 1024 * 1024;
/** What a shutdown checkpoint takes: 24 header, 2 data header, 88 CheckPoint, rounded up to a multiple of 8. */
const CHECKPOINT_BYTES = 120;
const PREFIX = 'pad';
/** Record header, long data header, xl_logical_message, prefix with its NUL. */
const PADDING_OVERHEAD = 24 + 5 + 24 + PREFIX.length + 1;

describe('start points', function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let rows = 0;

  before(async () => {
    cluster = await TestCluster.start({
      initdbArgs: ['--wal-segsize=1'],
      settings: { autovacuum: 'off' },
    });
    await cluster.sql('create table t (id int primary key, v text)');
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  async function insert(): Promise<void> {
    await cluster.sql(
      `insert into t select g, repeat('x', 200) from generate_series(${rows + 1}, ${rows + 50}) g`,
    );
    rows += 50;
  }

  /** Bytes of records that fit between two positions (page headers do not count). */
  function room(from: number, to: number): number {
    let bytes = 0;
    for (let at = from; at < to;) {
      if (at % PAGE === 0) at += at % SEGMENT === 0 ? 40 : 24;
      const end = Math.min(to, at - (at % PAGE) + PAGE);
      bytes += end - at;
      at = end;
    }
    return bytes;
  }

  /** Writes padding that ends exactly where `choose` says, the first such place far enough ahead. Another record may come between. */
  async function steer(choose: (from: number) => number): Promise<Lsn> {
    const client = await cluster.client();
    for (let attempt = 0; attempt < 20; attempt++) {
      const { rows: found } = await client.query('select pg_current_wal_insert_lsn()::text as at');
      const from = parseLsn(found[0].at as string);
      const target = choose(from + 1000);
      const size = room(from, target) - PADDING_OVERHEAD;
      const { rows: made } = await client.query(
        `select pg_logical_emit_message(false, '${PREFIX}', repeat('p', ${size}), true)::text as at`,
      );
      if (parseLsn(made[0].at as string) !== target) continue;
      await eventually('a quorum has it', async () => parseLsn((await cluster.status()).computes[0]!.commitLsn!) >= target); // prettier-ignore
      return target as Lsn;
    }
    throw new Error('the log could not be steered');
  }

  const nextPage = (from: number): number => Math.ceil(from / PAGE) * PAGE;
  const nextSegment = (from: number): number => Math.ceil(from / SEGMENT) * SEGMENT;
  /** A page boundary that is no segment boundary. */
  const midPage = (from: number): number =>
    nextPage(from) % SEGMENT === 0 ? nextPage(from) + PAGE : nextPage(from);

  /** Kills the compute at X and starts it again; then the log must have gone on at X. */
  async function restartAt(at: Lsn): Promise<void> {
    await cluster.killCompute();
    await cluster.start();
    const { startLsn } = (await cluster.status()).computes[0]!;
    const log = readFileSync(path.join(cluster.layout.root, 'log', 'compute-primary.log'), 'utf8');
    const elected = log.trim().split('\n').map((line) => JSON.parse(line) as { msg: string; lsn: string }).filter((line) => line.msg === 'elected').at(-1)!; // prettier-ignore
    assert.equal(elected.lsn, formatLsn(at), 'the last record did not end where it should');
    const headers = parseLsn(startLsn!) - at - CHECKPOINT_BYTES;
    assert.ok([0, 24, 40].includes(headers), `the checkpoint takes ${headers} bytes more than its record`);
    assert.equal((await cluster.sql('select count(*)::int as n from t'))[0]!['n'], rows);
    await insert();
    await cluster.amcheck();
    assert.equal((await cluster.sql('select count(*)::int as n from t'))[0]!['n'], rows);
  }

  const places: [what: string, choose: (from: number) => number][] = [
    ['a page boundary', midPage],
    ['8 bytes before a page boundary', (from) => midPage(from + 8) - 8],
    [
      '24 bytes before a page boundary, so that only the record header is left of it',
      (from) => midPage(from + 24) - 24,
    ],
    ['the checkpoint ends on a page boundary', (from) => midPage(from + CHECKPOINT_BYTES) - CHECKPOINT_BYTES],
    ['just behind a page header', (from) => midPage(from) + 24 + 8 * Math.ceil((PADDING_OVERHEAD + 300) / 8)],
    ['a segment boundary', nextSegment],
    ['8 bytes before a segment boundary', (from) => nextSegment(from + 8) - 8],
    ['64 bytes before a segment boundary', (from) => nextSegment(from + 64) - 64],
    [
      'the checkpoint ends on a segment boundary',
      (from) => nextSegment(from + CHECKPOINT_BYTES) - CHECKPOINT_BYTES,
    ],
  ];
  for (const [what, choose] of places) {
    it(`X is at ${what}`, async () => {
      await insert();
      await restartAt(await steer(choose));
    });
  }

  it('X is the end of a segment that was switched away from', async () => {
    await insert();
    const client = await cluster.client();
    await client.query('select pg_switch_wal()');
    const { rows: found } = await client.query('select pg_current_wal_flush_lsn()::text as at');
    const end = nextSegment(parseLsn(found[0].at as string) - 40) as Lsn;
    await eventually(
      'a quorum has it',
      async () => parseLsn((await cluster.status()).computes[0]!.commitLsn!) >= end,
    );
    await restartAt(end);
  });

  it('a clean stop right after a switch', async () => {
    await cluster.sql('select pg_switch_wal()');
    await cluster.stop();
    await cluster.start();
    await insert();
    await cluster.amcheck();
  });
});
