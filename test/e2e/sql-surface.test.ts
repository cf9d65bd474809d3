/**
 * SQL over disaggregated storage is PostgreSQL's SQL: the same statements, run here and on a plain PostgreSQL 18, leave the same
 * schema and the same data; and everything that was committed is the same to the byte after kill -9 with an erased disk, and after a clean stop.
 */
import { strict as assert } from 'node:assert';
import { TestCluster } from '../helpers/cluster.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { coldSteps, databaseSteps, dataSteps } from '../helpers/sql-data.js';
import { difference, exactFingerprint, logicalFingerprint } from '../helpers/sql-fingerprint.js';
import { runStep, schemaSteps, type SqlStep } from '../helpers/sql-schema.js';

/** Nothing runs on its own, so that one row more or less is our fault. */
const SETTINGS = { autovacuum: 'off', shared_buffers: '32MB' };

type Server = Pick<PlainPostgres, 'client' | 'sql'>;

describe('e2e: the SQL surface', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let plain: PlainPostgres;
  const exact = new Map<string, string[]>();

  before(async () => {
    [cluster, plain] = await Promise.all([
      TestCluster.start({ settings: SETTINGS }),
      startPlainPostgres({ settings: SETTINGS }),
    ]);
    for (const server of [cluster, plain]) {
      for (const name of ['template1', 'postgres']) await server.sql('create extension amcheck', name);
      await server.sql('create database work');
    }
  });
  after(async () => {
    await plain?.destroy();
    await cluster?.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  /** On both servers, in a session of its own: a database may have none when it is copied, moved or dropped. */
  async function runOnBoth(step: SqlStep): Promise<void> {
    for (const server of [cluster, plain]) {
      const client = await server.client(step.database ?? 'work');
      await runStep(client, step);
      await client.end();
    }
  }

  for (const step of [...schemaSteps, ...dataSteps, ...databaseSteps]) it(step.name, () => runOnBoth(step));

  it('leaves the schema and the data that a plain PostgreSQL has', async () => {
    const names = await databases(cluster);
    assert.ok(names.length >= 8);
    await sameAsPlain(() => true);
  });

  it('is the same, to the row version, after kill -9 and with a new disk', async () => {
    await remember(['postgres', 'work', 'by_file', 'by_wal', 'travels', 'back_again', 'in_space']);
    assert.ok(exact.get('work')!.length > 400, `only ${exact.get('work')!.length} facts`);
    await startAnew();
    for (const name of exact.keys()) await sameAsRemembered(name);
    for (const name of ['work', 'by_file', 'by_wal', 'back_again']) {
      const checked = await cluster.amcheck(name);
      assert.ok(checked.indexes > 100 && checked.heaps > 50, `${name}: ${JSON.stringify(checked)}`);
    }
  });

  it('is the same after a clean stop', async () => {
    await cluster.stop();
    await cluster.start();
    // The databases that the next steps do not need cold.
    for (const name of ['postgres', 'by_file']) await sameAsRemembered(name);
  });

  for (const step of coldSteps) it(step.name, () => runOnBoth(step));

  it('that, too, leaves what a plain PostgreSQL has', async () => {
    // A new start skips what was left of the logged-ahead values of each sequence, as a crash does.
    await sameAsPlain((line) => !line.startsWith('sequenceState: '));
  });

  it('and is still the same after another kill -9', async () => {
    await remember(['work', 'travels', 'cold_copy', 'cold_log']);
    await startAnew();
    for (const name of exact.keys()) await sameAsRemembered(name);
    for (const name of ['work', 'cold_copy', 'cold_log', 'travels', 'back_again'])
      await cluster.amcheck(name);
  });

  async function sameAsPlain(counts: (line: string) => boolean): Promise<void> {
    const names = await databases(cluster);
    assert.deepEqual(names, await databases(plain));
    for (const name of names) {
      const [ours, theirs] = await Promise.all(
        [cluster, plain].map(async (server) => {
          const client = await server.client(name);
          const lines = await logicalFingerprint(client);
          await client.end();
          return lines.filter(counts);
        }),
      );
      assert.ok(ours!.length > (name === 'work' ? 500 : 5), `${name}: only ${ours!.length} facts`);
      assert.equal(difference(ours!, theirs!, ['here', 'on plain PostgreSQL']), '', name);
    }
  }

  async function startAnew(): Promise<void> {
    await cluster.killCompute();
    cluster.eraseCompute();
    await cluster.start();
  }

  async function remember(names: readonly string[]): Promise<void> {
    exact.clear();
    for (const name of names) exact.set(name, await fingerprint(name));
  }

  async function sameAsRemembered(name: string): Promise<void> {
    assert.equal(difference(exact.get(name)!, await fingerprint(name), ['before', 'now']), '', name);
  }

  async function fingerprint(name: string): Promise<string[]> {
    const client = await cluster.client(name);
    const lines = await exactFingerprint(client);
    await client.end();
    return lines;
  }
});

async function databases(server: Server): Promise<string[]> {
  const rows = await server.sql(
    `select datname from pg_database where datallowconn order by datname collate "C"`,
  );
  return rows.map((row) => String(row['datname']));
}
