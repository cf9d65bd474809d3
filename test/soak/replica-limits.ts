/**
 * A replica at its limits: one that slept until storage had removed what it needs never shows wrong rows and begins anew; one whose primary
 * was given more connections makes room for them; one that is made when the last checkpoint is gone gets a new one.
 */
import { strict as assert } from 'node:assert';
import { parseLsn } from '../../src/engine/lsn.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { caughtUp, Computes, PATIENCE_MS } from '../helpers/computes.js';
import { withStorageSettings } from '../helpers/storage-settings.js';

const MIB = 1024 * 1024;
const SETTINGS = {
  retention: { timeMs: 500, bytes: 4 * MIB, leaseMs: 3000, peerMs: 60_000 },
  vacuum: { enabled: true, intervalMs: 200, dutyPercent: 90, passBytes: 64 * 1024, passMs: 500 },
  logFileBytes: MIB,
};

describe('a replica at its limits', function () {
  this.timeout(PATIENCE_MS * 4);
  let cluster: TestCluster;
  let computes: Computes;

  before(async () => {
    cluster = await withStorageSettings(SETTINGS, () =>
      TestCluster.start({ settings: { autovacuum: 'off', checkpoint_timeout: '1h', max_connections: '50' } }),
    );
    computes = new Computes(cluster);
    await cluster.sql(`create table cold as select g as id, repeat(md5(g::text), 20) as v from generate_series(1, 2000) g;
      create table hot (id int primary key, n int not null); insert into hot select g, 0 from generate_series(1, 2000) g`);
  });

  after(async () => {
    await computes?.close();
    await cluster?.destroy();
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster.logs(40));
  });

  /** Work on the primary until no node has history from `lsn` on any more. */
  async function forget(text: string): Promise<void> {
    await eventually(
      `no node has history from ${text} on`,
      async () => {
        await cluster.sql('update hot set n = n + 1');
        const { storage } = await cluster.status();
        return storage.every((node) => node.gcLsn !== null && parseLsn(node.gcLsn) > parseLsn(text));
      },
      PATIENCE_MS,
    );
  }

  const fingerprint = `select (select md5(string_agg(t::text, ',' order by id)) from cold t) as cold,
    (select md5(string_agg(t::text, ',' order by id)) from hot t) as hot`;

  it('is made although the last checkpoint is long gone: the primary makes a new one', async () => {
    await forget((await computes.report('primary')).startLsn!);
    await computes.add('r1');
    const [primary, replica] = [await cluster.client(), await computes.client('r1')];
    await caughtUp(primary, replica);
    assert.deepEqual((await replica.query(fingerprint)).rows, (await primary.query(fingerprint)).rows);
    await replica.end();
  });

  it('goes on reading what it has not touched, long after the horizon has passed its start', async () => {
    await computes.kill('r1');
    await computes.start('r1');
    await forget((await computes.report('r1')).startLsn!);
    const [primary, replica] = [await cluster.client(), await computes.client('r1')];
    await caughtUp(primary, replica);
    assert.deepEqual((await replica.query(fingerprint)).rows, (await primary.query(fingerprint)).rows);
    await replica.end();
  });

  it('that slept too long shows nothing wrong, and begins anew', async () => {
    await computes.kill('r1');
    await computes.start('r1');
    const { startLsn, replica: before } = await computes.report('r1');
    const paused = await computes.pids('r1');
    for (const pid of paused) process.kill(pid, 'SIGSTOP');
    try {
      await forget(before!.replayLsn);
    } finally {
      for (const pid of paused) process.kill(pid, 'SIGCONT');
    }
    const primary = await cluster.client();
    const expected = (await primary.query(fingerprint)).rows;
    await eventually(
      'a new life of the replica has all',
      async () => {
        const report = await computes.report('r1');
        if (report.state !== 'running' || report.startLsn === startLsn) return false;
        const replica = await computes.client('r1');
        try {
          await caughtUp(primary, replica);
          assert.deepEqual((await replica.query(fingerprint)).rows, expected);
          return true;
        } finally {
          await replica.end();
        }
      },
      PATIENCE_MS,
    );
  });

  it('whose primary was given more connections starts again with room for them', async () => {
    await computes.close();
    const before = (await computes.report('r1')).postgresPid;
    await cluster.stopPrimary();
    await cluster.startPrimary({ autovacuum: 'off', max_connections: '120' });
    await cluster.sql('update hot set n = 0');
    await eventually(
      'the replica has replayed the raise, and what came after it',
      async () => {
        const report = await computes.report('r1');
        if (report.state !== 'running' || report.postgresPid === before) return false;
        const replica = await computes.client('r1');
        try {
          const { rows } = await replica.query(
            `select current_setting('max_connections') as room, (select max(n)::int from hot) as n`,
          );
          return rows[0].room === '120' && rows[0].n === 0;
        } finally {
          await replica.end();
        }
      },
      PATIENCE_MS,
    );
  });
});
