/**
 * The disk is a cache: kill -9 of the whole compute under load, its disk erased, started again from storage. Every acknowledged
 * commit is there, nothing half done is, prepared transactions wait for their end, and amcheck finds nothing.
 * ROUNDS=n runs more rounds (npm run soak:crash runs 20).
 */
import { strict as assert } from 'node:assert';
import { createBank, runBank, auditBank } from '../helpers/bank.js';
import { TestCluster } from '../helpers/cluster.js';

const ROUNDS = Number(process.env['ROUNDS'] ?? 3);
const LOAD_MS = Number(process.env['LOAD_MS'] ?? 1500);
const CLIENTS = 8;

describe('e2e: the disk is a cache', function () {
  this.timeout(60_000 + ROUNDS * 60_000);
  let cluster: TestCluster;

  before(async () => {
    cluster = await TestCluster.start({ settings: { max_prepared_transactions: '20' } });
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  it(`survives ${ROUNDS} rounds of kill -9, erase, start`, async () => {
    const setUp = await cluster.client();
    await createBank(setUp);
    const acknowledged = new Set<number>();
    const unknown = new Set<number>();
    let prepared = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.client()));
      const stop = new AbortController();
      const load = runBank(clients, round * 1_000_000, stop.signal);
      const twoPhase = await cluster.client();
      await twoPhase.query(
        `begin; insert into journal values (${-round}, 1, 2, 0); prepare transaction 'round-${round}'`,
      );
      prepared++;
      await new Promise((resolve) => setTimeout(resolve, LOAD_MS)); // lets load build up; nothing depends on how much
      await cluster.killCompute();
      stop.abort();
      const result = await load;
      for (const id of result.acknowledged) acknowledged.add(id);
      for (const id of result.unknown) unknown.add(id);
      assert.ok(result.acknowledged.size > 0, `round ${round}: nothing was committed: ${result.errors[0]}`);

      cluster.eraseCompute();
      await cluster.start();
      const client = await cluster.client();
      const total = await auditBank(client, acknowledged, unknown);
      assert.ok(total >= acknowledged.size);
      const { rows } = await client.query('select count(*)::int as n from pg_prepared_xacts');
      assert.equal(rows[0].n, prepared, 'prepared transactions must still be there');
      const checked = await cluster.amcheck();
      assert.ok(checked.indexes > 100 && checked.heaps > 50);
    }
    const client = await cluster.client();
    await client.query(`commit prepared 'round-1'`);
    acknowledged.add(-1);
    if (ROUNDS > 1) await client.query(`rollback prepared 'round-2'`);
    await auditBank(client, acknowledged, unknown);
  });
});
