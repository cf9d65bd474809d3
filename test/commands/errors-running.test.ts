// Wrong input to commands of a cluster that runs, that runs only in part, or that is somebody else's; and ^C in the middle. Each ends with one line, a
// hint where there is something to do, the right exit status, and the cluster as it was.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, promises as fs, readdirSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { whileStarting } from '../../src/cluster/lock.js';
import { TestCluster } from '../helpers/cluster.js';
import { PROGRAM, aurora, processesWith, tempFolder, type CliOptions, type CliResult } from './cli.js';
import { assertFailed, runCases, type Cases } from './error-case.js';

const NOBODY = 65534;

describe('commands of a running cluster that cannot be done', function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let holder: net.Server;
  let results: Map<string, Promise<CliResult>>;
  let dir: string;
  let remove: () => Promise<void>;
  const taken = (): string => String((holder.address() as net.AddressInfo).port);
  const here = (): CliOptions => ({ env: { AURORA_HOME: cluster.layout.root } });

  before(async () => {
    ({ dir, remove } = await tempFolder());
    holder = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => holder.once('listening', resolve));
    cluster = await TestCluster.start();
    results = runCases(cases, here());
  });
  after(async () => {
    if (results) await Promise.allSettled(results.values());
    await cluster?.destroy();
    holder.close();
    await remove();
  });

  const simple = (args: string, says: RegExp, hint?: RegExp, status = 1): Cases => ({
    [args]: () => ({ args: args.split(' '), status, says, ...(hint && { hint }) }),
  });
  const cases: Cases = {
    ...simple('start', /already running/, /aurora status/),
    ...simple('storage add a/b', /"a\/b" is no name for a storage node/, /letters/),
    ...simple('storage add 4 --at zz', /"zz" is no address/, /HOST:PORT/),
    ...simple('storage add 4 --at 127.0.0.1:1', /cannot connect to 127\.0\.0\.1:1/),
    ...simple('storage remove 9', /there is no storage node 9/, /There are 1, 2, 3/),
    ...simple('storage replace 9', /there is no storage node 9/, /There are 1, 2, 3/),
    ...simple('storage replace 1 2', /storage node 2 is a member already/, /storage remove 1/),
    ...simple('storage start 9', /there is no storage node 9/, /There are 1, 2, 3/),
    ...simple('storage stop 9', /there is no storage node 9/, /There are 1, 2, 3/),
    ...simple('storage status 9', /there is no storage node 9/, /There are 1, 2, 3/),
    ...simple('replica add primary', /compute "primary" already exists/),
    ...simple('replica add x.y', /invalid compute name "x\.y"/, /letters/),
    ...simple('replica add -- -x', /invalid compute name "-x"/, /no "-" first/),
    ...simple('replica add r1 -o -c', /invalid server option "-c"/, /-c name=value/),
    ...simple('replica remove r9', /there is no compute "r9"/, /primary/),
    ...simple('replica remove primary', /is the primary, not a replica/, /aurora promote/),
    ...simple('compute start primary', /already running/),
    ...simple('compute stop c9', /there is no compute "c9"/, /primary/),
    ...simple('compute status c9', /there is no compute "c9"/, /primary/),
    ...simple('promote c9', /there is no compute "c9"/, /primary/),
    ...simple('promote primary', /is the primary already/),
    ...simple('config get nope', /unrecognized configuration parameter "nope"/, /config list/),
    ...simple('config set work_mem=abc', /invalid value for parameter "work_mem": "abc"/),
    ...simple('logs nope', /there is no log "nope"/, /storage-1/),
    ...simple('inspect gossip --node 9', /has no storage node "9"/, /It has: 1, 2, 3/),
    ...simple('inspect relation nope', /relation "nope" does not exist/, /--db/),
    ...simple('inspect page 1663/5/1259 99999999', /block 99999999 is out of range/),
    ...simple('inspect wal -s FF/0', /WAL location FF\/0 is not available/),
    ...simple('cert list', /has no certificates/, /initdb --tls/),
    ...simple('cert issue node:4 -o /nowhere', /needs the address/, /--host/),
    'replica add on a port that is taken': () => ({
      args: ['replica', 'add', 'r1', '-p', taken()],
      status: 1,
      says: /port \d+ on 127\.0\.0\.1 is already in use/,
      hint: /-p/,
    }),
    'a node alone on a port that is taken': () => ({
      args: ['storage', 'start', '-D', path.join(dir, 'lone'), '--node', '4', '--join', '127.0.0.1:1', '--volume', 'v', '--secret-file', cluster.layout.secret, '--listen', `127.0.0.1:${taken()}`], // prettier-ignore
      status: 1,
      says: /port \d+ on 127\.0\.0\.1 is already in use/,
      hint: /choose another port/,
    }),
  };
  for (const [name, make] of Object.entries(cases)) it(name, () => assertFailed(make(), results.get(name)));

  it('leave the cluster as it was', async () => {
    await Promise.all(results.values());
    const { storage, computes } = await cluster.status();
    assert.deepEqual(storage.map(({ id, state }) => [id, state]), [['1', 'running'], ['2', 'running'], ['3', 'running']]); // prettier-ignore
    assert.deepEqual(computes.map(({ name, state }) => [name, state]), [['primary', 'running']]); // prettier-ignore
    assert.deepEqual(readdirSync(dir), [], 'folder of the node that could not start');
  });

  it('^C while a replica starts: it is gone', async () => {
    const result = await aurora(['replica', 'add', 'r1'], {
      ...here(),
      started: (child) => child.stdout!.once('data', () => child.kill('SIGINT')),
    });
    await assertFailed(
      { args: ['replica'], status: 130, says: /interrupted by SIGINT/ },
      Promise.resolve(result),
    );
    assert.deepEqual(
      cluster.withManifest((manifest) => manifest.computes.map(({ name }) => name)),
      ['primary'],
    );
    const folder = path.join(path.dirname(cluster.computeDir), 'r1');
    assert.equal(existsSync(folder), false);
    assert.deepEqual(await processesWith(folder), []);
  });

  it('^C of a start that waits for another one: what that one starts goes on', async () => {
    await cluster.killStorage('3');
    await whileStarting(cluster.layout, { timeoutMs: 0 }, async () => {
      let other = Promise.resolve();
      const waiting = await aurora(['replica', 'add', 'r1'], {
        ...here(),
        started: (child) =>
          child.stdout!.once('data', () => {
            other = cluster.startStorage('3').finally(() => child.kill('SIGINT'));
          }),
      });
      await other;
      assert.match(waiting.stdout, /^waiting for another command/);
      await assertFailed(
        { args: ['replica'], status: 130, says: /interrupted by SIGINT/ },
        Promise.resolve(waiting),
      );
    });
    const { storage, computes } = await cluster.status();
    assert.deepEqual(storage.map(({ id, state }) => [id, state]), [['1', 'running'], ['2', 'running'], ['3', 'running']]); // prettier-ignore
    assert.deepEqual(computes.map(({ name }) => name), ['primary']); // prettier-ignore
  });

  it('replicas added side by side all come up', async () => {
    const names = ['r1', 'r2', 'r3'];
    const added = await Promise.all(names.map((name) => aurora(['replica', 'add', name], here())));
    for (const { status, stderr } of added) assert.equal(status, 0, stderr);
    const { computes } = await cluster.status();
    assert.deepEqual(computes.map(({ name, state }) => [name, state]).sort(), [['primary', 'running'], ['r1', 'running'], ['r2', 'running'], ['r3', 'running']]); // prettier-ignore
    const removed = await Promise.all(names.map((name) => aurora(['replica', 'remove', name], here())));
    for (const { status, stderr } of removed) assert.equal(status, 0, stderr);
    const left = readdirSync(cluster.layout.run).filter((name) => /^compute-r/.test(name));
    assert.deepEqual(left, [], 'notes of replicas that are gone');
  });

  it('^C while a storage node is added: said so, and the node can be taken back', async () => {
    const result = await aurora(['storage', 'add', '4'], {
      ...here(),
      started: (child) => child.stdout!.once('data', () => child.kill('SIGINT')),
    });
    await assertFailed(
      { args: ['storage'], status: 130, says: /interrupted by SIGINT/, hint: /run the same command again/ },
      Promise.resolve(result),
    );
    const undone = await aurora(['storage', 'remove', '4', '--delete-data'], here());
    assert.equal(undone.status, 0, undone.stderr);
    assert.deepEqual(cluster.storageNodes.map(({ id }) => id), ['1', '2', '3']); // prettier-ignore
    assert.deepEqual((await fs.readdir(path.join(cluster.layout.root, 'storage'))).sort(), ['1', '2', '3']);
  });

  it('permission denied: of an account that the cluster does not belong to', async function () {
    const reachable = spawnSync(process.execPath, ['-e', `fs.accessSync(${JSON.stringify(PROGRAM)})`], {
      uid: NOBODY,
      gid: NOBODY,
    });
    if (process.getuid!() !== 0 || reachable.status !== 0) this.skip();
    const denied = /could not access directory ".*": Permission denied/;
    const owner = /the account that the directory belongs to/;
    const commands: Record<string, number> = { status: 4, isready: 3, 'psql -c select': 2, 'createdb x': 1, 'config get work_mem': 1, 'storage list': 1, 'replica add r1': 1, 'promote r1': 1, 'inspect volume': 1, logs: 1, 'top --once': 1, stop: 1 }; // prettier-ignore
    const refused: Cases = {};
    for (const [command, status] of Object.entries(commands))
      Object.assign(refused, simple(command, denied, owner, status));
    Object.assign(
      refused,
      simple(`inspect wal ${cluster.layout.root}/storage/1`, /could not open ".*": Permission denied/),
    );
    const ran = runCases(refused, { ...here(), uid: NOBODY });
    for (const [name, make] of Object.entries(refused)) await assertFailed(make(), ran.get(name));
  });

  it('nodes that are down: said so, with what to do', async () => {
    await cluster.killCompute();
    for (const { id } of cluster.storageNodes) await cluster.killStorage(id);
    const unreachable = /no storage node of cluster ".*" can be reached/;
    const down: Cases = {
      ...simple('storage remove 2', /not one storage node of the cluster answers/, /aurora start/),
      ...simple('storage stop 2', /no storage node to stop is running/),
      ...simple('replica add r1', /is not running/, /aurora start/),
      ...simple('compute stop primary', /compute "primary" is not running/),
      ...simple('promote primary', /is not running/, /compute start/),
      ...simple('reload', /is not running/, /aurora start/),
      ...simple('top --once', unreachable, /aurora start/),
      ...simple('inspect volume', unreachable, /aurora start/),
      ...simple('inspect page 1663/5/1259 0', unreachable, /aurora start/),
      ...simple('config get work_mem', /connection to server on socket .* failed/),
    };
    const ran = runCases(down, here());
    for (const [name, make] of Object.entries(down)) await assertFailed(make(), ran.get(name));
  });
});
