/**
 * An extension with a resource manager of its own: initdb and start refuse it by name, before PostgreSQL lets anybody in; a start without it is
 * the way out. Should a record of one get into the log all the same, ingest stops right before it, and the status says why.
 */
import { strict as assert } from 'node:assert';
import { startCluster } from '../../src/cluster/start.js';
import { isDbError } from '../../src/engine/errors.js';
import { parseLsn } from '../../src/engine/lsn.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { buildCustomRmgr, type CustomRmgrLibraries } from '../helpers/custom-rmgr.js';

describe('e2e: custom resource managers', function () {
  this.timeout(120_000);
  let libraries: CustomRmgrLibraries;
  let cluster: TestCluster;

  before(async () => {
    libraries = await buildCustomRmgr();
    cluster = await TestCluster.create({ storageNodes: 1, writeQuorum: 1 });
  });
  after(async () => {
    await cluster?.destroy();
    await libraries?.remove();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  const start = (settings: Record<string, string>): Promise<unknown> =>
    startCluster({ root: cluster.layout.root, timeoutMs: 60_000, wait: true, settings });
  const refused = (err: unknown): boolean =>
    isDbError(err, 'COMPUTE_CUSTOM_RMGR') && /"test notes" \(id 129\)/.test(err.message);

  it('are refused by initdb', async () => {
    const initdbArgs = ['-c', `shared_preload_libraries=${libraries.registered}`];
    await assert.rejects(TestCluster.create({ storageNodes: 1, writeQuorum: 1, initdbArgs }), refused);
  });

  it('are refused by start, in whatever way they are set, and left out by the start that the hint names', async () => {
    await assert.rejects(
      start({ shared_preload_libraries: `auto_explain,${libraries.registered}` }),
      refused,
    );
    assert.equal(cluster.postgresPid(), null);
    await start({ shared_preload_libraries: 'auto_explain' });
    await cluster.sql(`alter system set shared_preload_libraries = '${libraries.registered}'`);
    await cluster.stop();
    await assert.rejects(
      start({}),
      (err) =>
        refused(err) && isDbError(err) && (err.hint ?? '').includes('-o "-c shared_preload_libraries="'),
    );
    await start({ shared_preload_libraries: '' });
    await cluster.sql('alter system reset shared_preload_libraries');
    await cluster.stop();
    await start({});
    assert.deepEqual(await cluster.sql('show shared_preload_libraries'), [{ shared_preload_libraries: '' }]);
  });

  it('a record of one stops ingest before it; the status names it, and the log goes on', async () => {
    await cluster.sql(
      `create function write_note() returns bigint language c as '${libraries.unregistered}'`,
    );
    const [{ end }] = (await cluster.sql('select write_note()::text as end')) as [{ end: string }];
    await cluster.sql('create table later as select 1 as a');
    const node = await eventually('ingest has stopped', async () => {
      const [first] = (await cluster.status()).storage;
      return first!.problem === null ? null : first!;
    });
    assert.match(node.problem!, /ingest stopped at [0-9A-F]+\/[0-9A-F]+: .*custom resource manager 129/);
    const stoppedAt = parseLsn(/stopped at (\S+):/.exec(node.problem!)![1]!);
    assert.ok(parseLsn(node.applied!) <= stoppedAt && stoppedAt < Number(end), `${node.problem} ${end}`);
    await eventually('the log goes on', async () => {
      const [now] = (await cluster.status()).storage;
      return parseLsn(now!.commit!) > Number(end) && now!.applied === node.applied;
    });
  });
});
