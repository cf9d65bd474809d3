/** A hot standby must have room for as many connections, locks and prepared transactions as its primary: the replica follows by itself. */
import { strict as assert } from 'node:assert';
import { promote } from '../../src/cluster/promote.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { caughtUp, Computes, PATIENCE_MS } from '../helpers/computes.js';

describe('replicas of a cluster that was made with wal_level=minimal', function () {
  this.timeout(PATIENCE_MS * 2);

  it('begin at the first checkpoint of another level, which the primary makes for them', async () => {
    const cluster = await TestCluster.start({
      initdbArgs: ['-c', 'wal_level=minimal'],
    });
    try {
      const computes = new Computes(cluster);
      await computes.add('r1');
      const replica = await computes.client('r1');
      assert.equal((await replica.query('show wal_level')).rows[0].wal_level, 'replica');
      await computes.close();
    } finally {
      await cluster.destroy();
    }
  });
});

describe('replicas and room', function () {
  this.timeout(PATIENCE_MS * 3);
  let cluster: TestCluster;
  let computes: Computes;

  before(async () => {
    // No checkpoint between a start and the next: a replica begins before whatever its primary has raised since.
    cluster = await TestCluster.start({ settings: { checkpoint_timeout: '1h' } });
    computes = new Computes(cluster);
    await computes.add('r1');
  });
  after(async () => {
    await computes?.close();
    await cluster?.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster.logs(30));
  });

  const restartPrimary = async (settings: Record<string, string>): Promise<void> => {
    await computes.close();
    await cluster.killCompute(); // not stopped: that would make a checkpoint
    await cluster.startPrimary({ checkpoint_timeout: '1h', ...settings });
    // What it logs of its settings is durable with the next commit, and may be lost before.
    await cluster.sql('create table if not exists t (n int); insert into t values (0)');
  };

  /** Waits until the replica has all of the primary's log; resolves with its settings. */
  const follows = async (name: string): Promise<Record<string, string>> => {
    const primary = await computes.client('primary');
    await primary.query('insert into t values (1)');
    const { rows: at } = await primary.query('select pg_current_wal_flush_lsn()::text as lsn');
    return eventually(`${name} has replayed all`, () => settingsAt(name, at[0].lsn as string));
  };

  /** Null while the replica has not replayed so far, and while it starts again: then sessions break off at any point. */
  const settingsAt = async (name: string, lsn: string): Promise<Record<string, string> | null> => {
    try {
      const replica = await computes.client(name);
      const { rows } = await replica.query(
        `select name, setting, pg_last_wal_replay_lsn() >= $1::pg_lsn as done from pg_settings
         where name in ('max_connections', 'max_prepared_transactions', 'max_locks_per_transaction')`,
        [lsn],
      );
      await replica.end();
      return rows[0].done
        ? (Object.fromEntries(rows.map((row) => [row.name, row.setting])) as Record<string, string>)
        : null;
    } catch {
      return null;
    }
  };

  it('a primary that was given more: its replica starts again with room for that', async () => {
    await restartPrimary({ max_connections: '120', max_prepared_transactions: '5' });
    const got = await follows('r1');
    assert.equal(got['max_connections'], '120');
    assert.equal(got['max_prepared_transactions'], '5');
  });

  it('once: a replica that starts later has the room from the start', async () => {
    const { postgresPid } = await computes.report('r1');
    await computes.add('r2');
    const first = (await computes.report('r2')).postgresPid;
    assert.equal((await follows('r2'))['max_connections'], '120');
    assert.equal((await computes.report('r2')).postgresPid, first, 'r2 was started twice');
    assert.equal((await computes.report('r1')).postgresPid, postgresPid, 'r1 was started again');
  });

  it('raised and lowered again before a replica begins: replay meets it, and the replica gets over it', async () => {
    await restartPrimary({ max_connections: '140' });
    await restartPrimary({ max_connections: '110' });
    await computes.add('r3', { settings: { max_locks_per_transaction: '99' } });
    const got = await follows('r3');
    assert.equal(got['max_connections'], '140');
    assert.equal(got['max_locks_per_transaction'], '99', 'what it was given itself is more');
    await follows('r1');
    const { postgresPid } = await computes.report('r3');
    await restartPrimary({ max_connections: '140', max_locks_per_transaction: '80' });
    await follows('r3');
    assert.equal((await computes.report('r3')).postgresPid, postgresPid, 'it had room for that');
  });

  it('a transaction that was prepared on the primary is there on a replica that is promoted', async () => {
    await restartPrimary({ max_prepared_transactions: '3' });
    const primary = await computes.client('primary');
    await primary.query('create table prepared (n int)');
    await primary.query('begin');
    await primary.query('insert into prepared values (7)');
    await primary.query(`prepare transaction 'p'`);
    await follows('r1');
    await computes.close();
    const { root } = cluster.layout;
    await promote({ root, name: 'r1', force: false, timeoutMs: PATIENCE_MS });
    const now = await computes.client('r1');
    assert.deepEqual((await now.query('select gid from pg_prepared_xacts')).rows, [{ gid: 'p' }]);
    await now.query(`commit prepared 'p'`);
    await computes.is('primary', 'replica');
    const old = await computes.client('primary');
    await caughtUp(now, old);
    for (const client of [now, old])
      assert.deepEqual((await client.query('select n from prepared')).rows, [{ n: 7 }]);
  });
});
