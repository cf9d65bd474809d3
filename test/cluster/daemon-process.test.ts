/** A daemon whose starter is gone before it has noted anything is still known, and is not taken for another. */
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { endDaemon, runningPid } from '../../src/cluster/daemon-process.js';
import { storageDaemonName } from '../../src/cluster/start.js';
import { PID_FILE_VARIABLE } from '../../src/net/pid-file.js';
import { eventually, TestCluster } from '../helpers/cluster.js';

const ROOT = path.resolve(import.meta.dirname, '../..');

describe('a daemon whose starter was killed', function () {
  this.timeout(120_000);
  let cluster: TestCluster;

  before(async () => {
    cluster = await TestCluster.create();
    await cluster.startStorage('1');
    await cluster.killStorage('1');
  });

  after(() => cluster?.destroy());

  it('is found by its own word, and another start of it does not hide it', async () => {
    const { run } = cluster.layout;
    const name = storageDaemonName('1');
    const file = path.join(run, `${name}.pid`);
    assert.equal(runningPid(run, name), null);
    const daemon = spawn(
      process.execPath,
      [path.join(ROOT, 'bin/daemon.js'), 'storage', path.join(run, `${name}.json`)],
      { env: { ...process.env, [PID_FILE_VARIABLE]: file }, stdio: 'ignore' },
    );
    try {
      await eventually('the daemon has said who it is', async () => runningPid(run, name) === daemon.pid);
      await eventually('it serves', async () => (await cluster.status()).storage[0]!.state === 'running');
      await assert.rejects(cluster.startStorage('1'), { code: 'CLUSTER_DAEMON_RUNNING' });
      assert.equal(runningPid(run, name), daemon.pid);
      assert.ok(await endDaemon(run, name, 'SIGTERM', 30_000));
    } finally {
      daemon.kill('SIGKILL');
    }
  });
});
