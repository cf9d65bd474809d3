/**
 * Logical replication from a plain PostgreSQL into a cluster whose primary is killed again and again: each change arrives, and just once. How far a
 * subscription has come is in the commits that it made; whoever follows the primary goes on from there. Part of npm run soak:failover.
 */
import { strict as assert } from 'node:assert';
import type pg from 'pg';
import { bankCluster } from '../helpers/bank-cluster.js';
import { eventually, type TestCluster } from '../helpers/cluster.js';
import { PATIENCE_MS, type Computes } from '../helpers/computes.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';

const KILLS = 3;
const DIGEST = `select count(*)::int as n, md5(string_agg(t::text, ',' order by id)) as rows from t`;

describe('a subscription', function () {
  this.timeout(PATIENCE_MS * (KILLS + 2));
  let cluster: TestCluster;
  let computes: Computes;
  let publisher: PlainPostgres;

  before(async () => {
    publisher = await startPlainPostgres({ settings: { wal_level: 'logical' } });
  });
  bankCluster({ r1: { failover: true } }, (made) => ({ cluster, computes } = made));
  after(() => publisher?.destroy());

  it('goes on with whoever is the primary, and takes nothing twice', async () => {
    const source = await publisher.client();
    await source.query('create table t (id serial primary key, v text not null)');
    await source.query(`insert into t (v) select 'first' || g from generate_series(1, 1000) g`);
    await source.query('create publication p for table t');
    const first = await computes.client('primary');
    await first.query('create table t (id serial primary key, v text not null)');
    await first.query(
      `create subscription s connection 'host=${publisher.socketDir} port=${publisher.port} user=${source.user} dbname=${source.database}' publication p`,
    );

    const stop = new AbortController();
    const changes = change(source, stop.signal);
    let [from, to] = ['primary', 'r1'];
    for (let kill = 0; kill < KILLS; kill++) {
      await follows(from);
      await computes.kill(from);
      await computes.is(to, 'primary');
      await computes.start(from);
      [from, to] = [to, from];
    }
    stop.abort();
    const rounds = await changes;
    assert.ok(rounds > 10 * KILLS, `${rounds} rounds of changes`);
    const expected = (await source.query(DIGEST)).rows[0];
    await eventually('all changes have arrived', async () => {
      const client = await computes.client(from);
      const got = (await client.query(DIGEST)).rows[0];
      await client.end();
      return got.n === expected.n && got.rows === expected.rows;
    });
    assert.equal((await cluster.status()).computes[0]!.name, from);
    const last = await computes.client(from);
    await last.query('drop subscription s');
    await Promise.all([source.end(), last.end()]);
  });

  /** Waits until something that changed after now is there. */
  async function follows(name: string): Promise<void> {
    const mark = `mark ${performance.now()}`;
    const source = await publisher.client();
    await source.query('insert into t (v) values ($1)', [mark]);
    await source.end();
    await eventually(`${name} has got ${mark}`, async () => {
      const client = await computes.client(name);
      const { rows } = await client.query('select 1 from t where v = $1', [mark]);
      await client.end();
      return rows.length === 1;
    });
  }

  async function change(source: pg.Client, signal: AbortSignal): Promise<number> {
    let round = 0;
    for (; !signal.aborted; round++) {
      await source.query(`insert into t (v) values ('round ${round}')`);
      await source.query(`update t set v = v || 'u' where id % 97 = ${round % 97} and v not like 'mark%'`);
      await source.query(`delete from t where id % 499 = ${round % 499} and v not like 'mark%'`);
    }
    return round;
  }
});
