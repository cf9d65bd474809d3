/**
 * What this proves: a library that registers a resource manager of its own is found out by PostgreSQL's own account, before a start and before
 * the setting is stored; a record of it stops redo with its id and LSN, and prints as pg_waldump prints it.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { probePreload, refuseCustomRmgrs, type PreloadProbe } from '../../src/compute/custom-rmgr.js';
import { giveTo } from '../../src/compute/postgres.js';
import { checkServerSettings } from '../../src/compute/settings-check.js';
import { isDbError } from '../../src/engine/errors.js';
import { formatLsn, parseLsn } from '../../src/engine/lsn.js';
import { assertReplayable } from '../../src/engine/redo/index.js';
import { describeRecord } from '../../src/engine/wal/describe.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import { buildCustomRmgr, CUSTOM_RMGR, type CustomRmgrLibraries } from '../helpers/custom-rmgr.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';

const SEGMENT_SIZE = 16 * 1024 * 1024;

describe('custom resource managers', function () {
  this.timeout(60_000);
  let built: CustomRmgrLibraries;
  let library: string;
  let server: PlainPostgres;

  before(async () => {
    built = await buildCustomRmgr();
    library = built.registered;
    server = await startPlainPostgres();
  });
  after(async () => {
    await server?.destroy();
    await built?.remove();
  });

  const probe = (settings: Record<string, string>): Promise<PreloadProbe> =>
    probePreload({ install: server.install, dataDir: server.dataDir, settings });

  it('are seen in the settings given, beside a server that runs', async () => {
    assert.deepEqual(await probe({}), { managers: [], failure: null });
    assert.deepEqual(await probe({ shared_preload_libraries: library }), {
      managers: [CUSTOM_RMGR],
      failure: null,
    });
    const two = { shared_preload_libraries: `auto_explain, ${library}`, log_min_messages: 'panic' };
    assert.deepEqual((await probe(two)).managers, [CUSTOM_RMGR]);
    assert.deepEqual(
      await fs.readdir(path.dirname(server.dataDir)),
      await withoutFolders(),
      'something is left',
    );
  });

  it('other libraries pass, and one that is not there is told from them', async () => {
    const fine = { shared_preload_libraries: 'auto_explain, pg_stat_statements' };
    assert.deepEqual(await probe(fine), { managers: [], failure: null });
    const { managers, failure } = await probe({ shared_preload_libraries: 'not_there' });
    assert.deepEqual(managers, []);
    assert.match(failure!, /could not access file "not_there"/);
  });

  it('PostgreSQL lets a library register one only there', async () => {
    await assert.rejects(
      server.sql(`LOAD '${library}'`),
      /failed to register custom resource manager "test notes"/,
    );
  });

  it('are refused before a start, and before a settings file is stored', async () => {
    const { install, dataDir } = server;
    const text = await fs.readFile(path.join(dataDir, 'postgresql.conf'), 'utf8');
    const write = async (name: string, content: string): Promise<void> => {
      await fs.writeFile(path.join(dataDir, name), content);
      await giveTo(install, path.join(dataDir, name));
    };
    const named = (err: unknown): boolean =>
      isDbError(err, 'COMPUTE_CUSTOM_RMGR') &&
      err.reaction === 'usage' &&
      /shared_preload_libraries registers .*"test notes" \(id 129\)/.test(err.message) &&
      err.hint !== undefined;
    const check = (): Promise<void> => checkServerSettings(install, dataDir, {});
    try {
      await check();
      await write('postgresql.conf', `${text}\nshared_preload_libraries = '${library}'\n`);
      await assert.rejects(check(), named);
      await assert.rejects(refuseCustomRmgrs({ install, dataDir, settings: {} }), named);
      // The way out that the hint names.
      await refuseCustomRmgrs({ install, dataDir, settings: { shared_preload_libraries: '' } });

      await write('postgresql.conf', text);
      await write('postgresql.auto.conf', `shared_preload_libraries = '${library}'\n`);
      await assert.rejects(check(), named);

      await write('postgresql.auto.conf', `shared_preload_libraries = 'not_there'\n`);
      await assert.rejects(
        check(),
        (err) => isDbError(err, 'COMPUTE_BAD_SETTINGS') && /"not_there"/.test(err.message),
      );
      await refuseCustomRmgrs({ install, dataDir, settings: {} }); // for PostgreSQL to say
    } finally {
      await write('postgresql.conf', text);
      await write('postgresql.auto.conf', '');
    }
  });

  it('the probe says what the server itself says, and a record stops redo by name', async () => {
    await server.stop();
    const loaded = await startPlainPostgres({
      settings: { shared_preload_libraries: library, autovacuum: 'off' },
    });
    try {
      const listed = await loaded.sql(
        'SELECT rm_id AS id, rm_name AS name FROM pg_get_wal_resource_managers() WHERE NOT rm_builtin',
      );
      const { install, dataDir } = loaded;
      const seen = await probePreload({ install, dataDir, settings: { shared_preload_libraries: library } });
      assert.deepEqual(seen.managers, listed);

      await loaded.sql(`CREATE FUNCTION write_note() RETURNS bigint LANGUAGE c AS '${library}'`);
      const [row] = await loaded.sql(
        `SELECT redo_lsn::text AS from, to_hex(write_note()) AS end, pg_walfile_name(redo_lsn) AS file FROM pg_control_checkpoint()`,
      );
      await loaded.sql('CREATE TABLE flushed ()'); // a commit flushes the log
      const { from, end, file } = row as { from: string; end: string; file: string };
      const rec = await findRecord(path.join(dataDir, 'pg_wal', file), from, 129);
      assert.equal(rec.endLsn, Number.parseInt(end, 16));
      assert.throws(
        () => assertReplayable(rec),
        (err) =>
          isDbError(err, 'REDO_CUSTOM_RMGR') &&
          err.message.includes(
            `at ${formatLsn(rec.startLsn)}: custom resource manager 129 of an extension`,
          ) &&
          /shared_preload_libraries/.test(err.hint ?? ''),
      );
      assert.deepEqual(describeRecord(rec), {
        rmgr: 'custom129',
        name: 'UNKNOWN (0)',
        desc: 'rmid: 129',
        blockRefs: '',
      });
    } finally {
      await loaded.destroy();
    }
  });

  async function withoutFolders(): Promise<string[]> {
    const names = await fs.readdir(path.dirname(server.dataDir));
    return names.filter((name) => !/^(preload|settings)-/.test(name));
  }
});

/** The first record of that resource manager at or after `from`, in one segment file. */
async function findRecord(file: string, from: string, rmid: number): Promise<WalRecord> {
  const startLsn = parseLsn(from);
  const decoder = new WalStreamDecoder({ startLsn, segmentSize: SEGMENT_SIZE });
  decoder.push((await fs.readFile(file)).subarray(startLsn % SEGMENT_SIZE));
  for (let rec = decoder.next(); rec !== null; rec = decoder.next()) if (rec.rmid === rmid) return rec;
  throw new Error(`no record of resource manager ${rmid} in ${file}`);
}
