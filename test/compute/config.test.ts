/** The compute's configuration file: every field checked, every mistake named with its file and field. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { loadComputeConfig } from '../../src/compute/config.js';
import { isDbError } from '../../src/engine/errors.js';

const GOOD = {
  volumeId: 'v',
  name: 'primary',
  dir: '/d',
  socketDir: '/s',
  port: 5432,
  secretFile: '/secret',
  storage: ['1', '2', '3'].map((id, i) => ({ id, host: '127.0.0.1', port: 7001 + i })),
  quorum: { voters: 3, write: 2, read: 2 },
  superuser: 'postgres',
};

describe('compute configuration', () => {
  let dir: string;
  before(async () => {
    dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-config-'));
  });
  after(async () => fs.rm(dir, { recursive: true, force: true }));

  const load = async (content: unknown): Promise<ReturnType<typeof loadComputeConfig>> => {
    const file = path.join(dir, 'compute.json');
    await fs.writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
    return loadComputeConfig(file);
  };

  it('takes settings of the environment before those of the file', async () => {
    process.env['AURORA_COMPUTE_SETTINGS'] = JSON.stringify({ port: 6543, electTimeoutMs: 5000 });
    try {
      const config = await load(GOOD);
      assert.equal(config.port, 6543);
      assert.equal(config.electTimeoutMs, 5000);
      process.env['AURORA_COMPUTE_SETTINGS'] = '{';
      await assert.rejects(load(GOOD), (err) => isDbError(err, 'USAGE_CONFIG'));
    } finally {
      delete process.env['AURORA_COMPUTE_SETTINGS'];
    }
  });

  it('fills in what was left out', async () => {
    const config = await load(GOOD);
    assert.equal(config.host, '127.0.0.1');
    assert.equal(config.electTimeoutMs, 30_000);
    assert.deepEqual(config.settings, {});
    assert.equal(config.metricsPort, null);
  });

  const wrong: [field: string, value: unknown][] = [
    ['volumeId', ''],
    ['name', 'a/b'],
    ['name', 'x'.repeat(33)],
    ['dir', 'relative'],
    ['socketDir', `/${'s'.repeat(107)}`],
    ['secretFile', 7],
    ['port', 0],
    ['port', 65536],
    ['port', '5432'],
    ['metricsPort', -1],
    ['quorum', null],
    ['quorum', { voters: 3, write: 2 }],
    ['quorum', { voters: 3.5, write: 2, read: 2 }],
    ['storage', GOOD.storage.slice(1)],
    ['storage', [...GOOD.storage.slice(1), null]],
    ['storage', [GOOD.storage[0], GOOD.storage[0], GOOD.storage[1]]],
    ['superuser', ''],
    ['host', ''],
    ['settings', null],
    ['settings', []],
    ['settings', { work_mem: 5 }],
    ['pgBindir', 3],
    ['runAs', {}],
    ['postgresLog', true],
    ['logLevel', 'loud'],
    ['electTimeoutMs', 0],
    ['electTimeoutMs', '5'],
  ];
  for (const [field, value] of wrong) {
    it(`refuses ${field} = ${JSON.stringify(value)?.slice(0, 40)}`, async () => {
      await assert.rejects(
        load({ ...GOOD, [field]: value }),
        (err) =>
          isDbError(err, 'USAGE_CONFIG') && err.message.includes(`"${field}"`) && err.message.includes(dir),
      );
    });
  }

  it('refuses files that are no object, no JSON, or not there', async () => {
    for (const content of ['', '{', 'null', '[]', '3'])
      await assert.rejects(load(content), (err) => isDbError(err, 'USAGE_CONFIG'));
    assert.throws(
      () => loadComputeConfig(path.join(dir, 'missing.json')),
      (err) => isDbError(err, 'USAGE_CONFIG') && err.message.includes('missing.json'),
    );
  });
});
