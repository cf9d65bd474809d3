/**
 * The storage topic through the installed command: zones, a node in a folder of its own on another address that joins and is added, what is refused, and
 * that a removed node serves nobody any more.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { freePort } from '../../src/cluster/ports.js';
import type { ClusterReport } from '../../src/cluster/status.js';
import type { StorageList } from '../../src/cluster/storage-list.js';
import { DbError } from '../../src/engine/errors.js';
import type { NodeStatus } from '../../src/net/node-status.js';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';
import { eventually } from '../helpers/cluster.js';
import { aurora, processesWith, tempFolder } from './cli.js';

/** Another host, as far as one machine can be one: only this address of the loopback network is listened on. */
const ELSEWHERE = '127.0.0.2';

describe('aurora storage', function () {
  this.timeout(600_000);
  let dir: string;
  let remove: () => Promise<void>;
  let root: string;
  let lone: string;

  const ok = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await aurora(args, { env: { AURORA_HOME: root } });
    assert.equal(status, 0, `aurora ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  };
  const fails = async (says: RegExp, ...args: string[]): Promise<void> => {
    const { status, stderr } = await aurora(args, { env: { AURORA_HOME: root } });
    assert.equal(status, 1, `aurora ${args.join(' ')}`);
    assert.match(stderr, says);
  };
  const report = async (): Promise<ClusterReport> =>
    JSON.parse(await ok('status', '--json')) as ClusterReport;
  const loneStatus = async (): Promise<NodeStatus> =>
    JSON.parse(await ok('storage', 'status', '--json', '-D', lone)) as NodeStatus;

  before(async () => {
    ({ dir, remove } = await tempFolder());
    [root, lone] = [path.join(dir, 'cluster'), path.join(dir, 'lone')];
    await ok('initdb', '-p', String(await freePort()), '--zones', '3', '-A', 'trust');
    await ok('start');
  });
  after(async () => {
    await aurora(['storage', 'stop', '-D', lone]);
    await aurora(['stop', '-D', root, '-m', 'immediate']);
    const left = await processesWith(dir);
    await remove();
    assert.deepEqual(left, [], 'processes are left');
  });

  it('shows the zones that initdb spread the nodes over', async () => {
    assert.match(await ok('status'), /^storage +zone +state/m);
    const list = JSON.parse(await ok('storage', 'list', '--json')) as StorageList;
    assert.deepEqual(list.nodes.map(({ id, zone, member }) => `${id} ${zone} ${member}`), ['1 1 voter', '2 2 voter', '3 3 voter']); // prettier-ignore
    assert.match(await ok('storage', 'list'), /3 copies, write quorum 2, read quorum 2, generation 1/);
  });

  it('starts and stops single nodes', async () => {
    await ok('storage', 'stop', '2');
    assert.equal((await aurora(['storage', 'status', '2', '-D', root])).status, 3);
    await fails(/no storage node to stop is running/, 'storage', 'stop', '2');
    await ok('storage', 'start', '2');
    assert.match(
      await ok('storage', 'status', '2'),
      /^storage 2: running, voter, zone 2, 127\.0\.0\.1:\d+\n {2}epoch/,
    );
  });

  it('refuses what would leave too few, too unevenly, or is not there', async () => {
    await fails(/no copy would be left in zone 3/, 'storage', 'remove', '3');
    await fails(/there is no storage node 9/, 'storage', 'remove', '9');
    await fails(/storage node 2 cannot replace itself/, 'storage', 'replace', '2', '2');
    await ok('storage', 'stop', '2');
    await fails(/vote and keep up; 1 are \(not 2\)/, 'storage', 'remove', '3', '--force');
    await ok('storage', 'start', '2');
    assert.equal((await report()).volume.generation, 1);
  });

  it('a node alone in a folder of its own joins, is added where it is, and takes the place of another', async () => {
    const { volume, storage } = await report();
    const address = `${ELSEWHERE}:${await freePort(ELSEWHERE)}`;
    const members = storage.map(({ host, port }) => `${host}:${port}`).join(',');
    const secret = path.join(dir, 'secret');
    await fs.copyFile(path.join(root, 'secret'), secret);
    const start = ['storage', 'start', '-D', lone, '--join', members, '--listen', address];
    await fails(/--join needs --secret-file, too/, ...start, '--volume', volume.id, '--node', 'far');
    await ok(...start, '--secret-file', secret, '--volume', volume.id, '--node', 'far');
    await eventually(
      'the others are known',
      async () => (await loneStatus()).membership.configuration !== null,
    );
    assert.equal((await loneStatus()).membership.state, 'outside');
    // Killed and started again it knows all that it needs.
    await ok('storage', 'stop', '-D', lone);
    await ok('storage', 'start', '-D', lone);
    assert.match(
      await ok('storage', 'replace', '3', 'far', '--at', address),
      /storage node 3 replaced by far/,
    );
    const after = await report();
    assert.deepEqual(after.storage.map(({ id, zone, host, state }) => `${id} ${zone} ${host} ${state}`), ['1 1 127.0.0.1 running', '2 2 127.0.0.1 running', `far 3 ${ELSEWHERE} running`]); // prettier-ignore
    assert.equal((await loneStatus()).membership.state, 'voter');
    await fails(/names are not given twice/, 'storage', 'add', '3');
    // Two of the three make the quorum, and far is one of them.
    await ok('storage', 'stop', '1');
    await ok('createdb', 'without1');
    await ok('storage', 'start', '1');
  });

  it('a node that is removed while it still runs elsewhere refuses everybody', async () => {
    await fails(/no copy would be left in zone 3/, 'storage', 'remove', 'far');
    assert.match(await ok('storage', 'remove', 'far', '--force'), /can be stopped, and its data deleted/);
    await eventually('it knows', async () => (await loneStatus()).membership.state === 'outside');
    const { volume } = await report();
    assert.deepEqual([volume.copies, volume.writeQuorum], [2, 2]);
    const { configuration } = (await loneStatus()).membership;
    assert.deepEqual(
      configuration?.members.map(({ id }) => id),
      ['1', '2'],
    );
    const [, port] = /127\.0\.0\.2:(\d+)/.exec(await ok('storage', 'status', '-D', lone))!;
    const client = await StorageClient.connect({ host: ELSEWHERE, port: Number(port) }, { secret: loadSecret(path.join(root, 'secret')), volumeId: volume.id, role: 'tool', clientId: 'test' }); // prettier-ignore
    await assert.rejects(client.logTail(), (err) => err instanceof DbError && err.code === 'NODE_REMOVED');
    client.close();
    await ok('createdb', 'without_far');
  });
});
