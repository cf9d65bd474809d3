/**
 * What this release cannot replay is refused, or stops loudly: a tablespace outside the data directory is refused before anything is logged;
 * a record that cannot be replayed stops ingest at its LSN, which the status tells, while the log goes on and nothing beyond is ever served.
 */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';
import { parseLsn } from '../../src/engine/lsn.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { buildCustomRmgr, type CustomRmgrLibraries } from '../helpers/custom-rmgr.js';

describe('e2e: refusals', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let libraries: CustomRmgrLibraries;

  before(async () => {
    libraries = await buildCustomRmgr();
    cluster = await TestCluster.start({ storageNodes: 1, writeQuorum: 1 });
  });
  after(async () => {
    await cluster?.destroy();
    await libraries?.remove();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  it('a tablespace with a location of its own is refused, and leaves nothing behind', async () => {
    const location = path.join(cluster.root, 'space');
    await fs.mkdir(location);
    const { uid, gid } = await fs.stat(path.join(cluster.computeDir, 'pgdata'));
    await fs.chown(location, uid, gid);
    for (let attempt = 0; attempt < 2; attempt++) {
      await assert.rejects(
        cluster.sql(`create tablespace elsewhere location '${location}'`),
        /could not create directory ".*PG_18_\d+": Operation not supported/,
      );
    }
    assert.deepEqual(await fs.readdir(location), []);
    assert.deepEqual(await cluster.sql(`select count(*)::int as n from pg_tablespace`), [{ n: 2 }]);
    assert.match(
      readFileSync(path.join(cluster.computeDir, 'postgresql.log'), 'utf8'),
      /tablespaces? .*in-place/i,
    );
    await cluster.sql('create table kept (id int primary key); insert into kept values (1)');
    await ingestKeepsUp();
    const superuser = await cluster.client();
    await superuser.query('set allow_in_place_tablespaces = on');
    await superuser.query(`create tablespace inside location ''`);
    await superuser.query('create table moved tablespace inside as select 1 as a');
    await ingestKeepsUp();
  });

  it('a record of an extension stops ingest, loudly; the log and the session go on', async () => {
    const client = await cluster.client();
    await client.query('create table after (id int primary key, v text)');
    await client.query(
      `create function write_note() returns bigint language c as '${libraries.unregistered}'`,
    );
    await ingestKeepsUp();
    await client.query('select write_note()');
    await client.query(`insert into after values (0, 'beyond it')`);
    const node = await eventually('ingest has stopped', async () => {
      const { storage } = await cluster.status();
      return storage[0]!.problem === null ? null : storage[0]!;
    });
    assert.match(node.problem!, /ingest stopped at [0-9A-F]+\/[0-9A-F]+: .*custom resource manager 129/);
    const { rows } = await client.query<{ before: boolean }>(
      `select $1::pg_lsn <= pg_current_wal_lsn() and $2::pg_lsn <= $1::pg_lsn as before`,
      [/stopped at (\S+):/.exec(node.problem!)![1], node.applied],
    );
    assert.deepEqual(rows, [{ before: true }], 'it must have stopped before a record that exists');
    await client.query(`insert into after select g, 'v' || g from generate_series(1, 1000) g`);
    assert.equal((await client.query('select count(*)::int as n from after')).rows[0].n, 1001);
    const later = await eventually('the log goes on', async () => {
      const [now] = (await cluster.status()).storage;
      return parseLsn(now!.commit!) > parseLsn(node.commit!) ? now! : null;
    });
    assert.equal(later.applied, node.applied, 'nothing beyond may be applied');
  });

  it('nothing beyond that place is served', async () => {
    const { storage, volume } = await cluster.status();
    const client = await StorageClient.connect(cluster.storageNodes[0]!, {
      secret: loadSecret(cluster.layout.secret),
      volumeId: volume.id,
      role: 'tool',
      clientId: 'refusals',
    });
    try {
      const page = { spcOid: 1663, dbOid: 5, relNumber: 2619, fork: 0, blkno: 0, count: 1 };
      assert.equal((await client.getPages({ ...page, lsn: parseLsn(storage[0]!.applied!) })).length, 8192);
      await assert.rejects(
        client.getPages({ ...page, lsn: parseLsn(storage[0]!.commit!) }),
        /INGEST_STOPPED|cannot replay the log beyond/,
      );
    } finally {
      client.close();
    }
    await cluster.stop();
    await assert.rejects(cluster.start(), /custom resource manager 129/);
  });

  async function ingestKeepsUp(): Promise<void> {
    await eventually('all committed log is ingested', async () => {
      const { storage } = await cluster.status();
      assert.equal(storage[0]!.problem, null);
      return storage[0]!.applied === storage[0]!.commit;
    });
  }
});
