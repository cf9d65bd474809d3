// A cluster with TLS, a password, debug logs and the laxest umask there is, looked at from outside: nothing secret is in a log, a process list,
// an environment, a status, a metric or an error; files are for their owner; what is monitored reads as Prometheus and JSON should.
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import tls from 'node:tls';
import pg from 'pg';
import { renewCertificates } from '../../src/cluster/cert-tool.js';
import { controlRequest } from '../../src/cluster/control-client.js';
import { memberFiles } from '../../src/cluster/certificates.js';
import { runningPid } from '../../src/cluster/daemon-process.js';
import { promote } from '../../src/cluster/promote.js';
import { computeDaemonName, storageDaemonName } from '../../src/cluster/start.js';
import { toolAccess } from '../../src/cluster/tls.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import { isDbError } from '../../src/engine/errors.js';
import { GossipTool } from '../../src/inspect/gossip.js';
import { StorageClient } from '../../src/net/storage-client.js';
import { TlsCredentials } from '../../src/net/tls.js';
import { aurora } from '../commands/cli.js';
import { TestCluster } from '../helpers/cluster.js';
import { caughtUp, Computes, PATIENCE_MS } from '../helpers/computes.js';
import { lintMetrics } from '../helpers/prometheus.js';

const PASSWORD = 'Tr0ub4dor-and-3';

describe('a cluster with TLS, from outside', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let umask: number;
  /** What was seen of the cluster in each way. */
  const seen = new Map<string, string>();
  const level = process.env['AURORA_LOG_LEVEL'];

  before(async () => {
    umask = process.umask(0);
    process.env['AURORA_LOG_LEVEL'] = 'debug';
    cluster = await TestCluster.start({ tls: true, password: PASSWORD });
  });

  after(async () => {
    process.umask(umask);
    if (level === undefined) delete process.env['AURORA_LOG_LEVEL'];
    else process.env['AURORA_LOG_LEVEL'] = level;
    await cluster.destroy();
  });

  const access = (): ReturnType<typeof toolAccess> =>
    cluster.withManifest((manifest) => toolAccess(cluster.layout, manifest.volume));

  /** GET over TLS from a storage node. */
  async function get(node: { host: string; port: number }, url: string): Promise<[number, string]> {
    const socket = tls.connect({ ...access().tls!.context, host: node.host, port: node.port });
    return answerOf({ createConnection: () => socket, path: url, host: 'localhost' });
  }

  async function answerOf(options: http.RequestOptions): Promise<[number, string]> {
    return new Promise((resolve, reject) => {
      const request = http.get(options, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve([response.statusCode ?? 0, text]));
      });
      request.on('error', reject);
    });
  }

  it('commits, reads, gossips and tells its status over TLS; a password login works', async () => {
    await cluster.sql(
      'create table t as select g, repeat(md5(g::text), 20) as filler from generate_series(1, 5000) g',
    );
    await cluster.killStorage('3');
    await cluster.startStorage('3');
    const client = new pg.Client({ host: '127.0.0.1', port: cluster.port, user: cluster.superuser, password: PASSWORD, database: 'postgres' }); // prettier-ignore
    await client.connect();
    await client.query(`alter role current_user password '${PASSWORD}'`);
    assert.equal((await client.query('select count(*)::int as n from t')).rows[0].n, 5000);
    await client.end();
    const report = await cluster.status();
    assert.deepEqual(report.storage.map((node) => node.state), ['running', 'running', 'running']); // prettier-ignore
    seen.set('status', JSON.stringify(report));
    const gossip = new GossipTool(cluster.layout.root, undefined);
    seen.set('gossip', JSON.stringify(await gossip.ask()));
    gossip.close();
  });

  it('a node joins, a replica follows, takes over and hands back, each with a certificate of its own', async () => {
    const { root } = cluster.layout;
    const added = await aurora(['storage', 'add', '4', '-D', root]);
    assert.equal(added.status, 0, added.stderr);
    const computes = new Computes(cluster);
    await computes.add('r1', { failover: true });
    const primary = await computes.client('primary');
    await primary.query('insert into t values (-1, null)');
    const replica = await computes.client('r1');
    await caughtUp(primary, replica);
    assert.equal((await replica.query('select count(*)::int as n from t')).rows[0].n, 5001);
    for (const [name, former] of [
      ['r1', 'primary'],
      ['primary', 'r1'],
    ] as const) {
      await promote({ root, name, force: false, timeoutMs: PATIENCE_MS });
      await computes.is(name, 'primary');
      await computes.is(former, 'replica');
      const client = await computes.client(name);
      await client.query('insert into t values (-2, null)');
    }
    await computes.close();
    const report = await cluster.status();
    assert.deepEqual(report.storage.map(({ member, problem }) => [member, problem]), Array(4).fill(['voter', null])); // prettier-ignore
    for (const name of ['node:4', 'compute:r1'])
      TlsCredentials.load(memberFiles(cluster.layout.tls, name as 'node:4'));
  });

  it('lets nobody in without a certificate, or with a wrong secret, and tells no secret about it', async () => {
    const [node] = cluster.storageNodes;
    const { tls: tool, ...plain } = access();
    const options = { ...plain, clientId: 'test', nodeId: node!.id };
    const errors: unknown[] = [];
    const refused = (code: string) => (err: unknown) => errors.push(err) > 0 && isDbError(err, code);
    await assert.rejects(StorageClient.connect(node!, options), refused('NET_TLS_REQUIRED'));
    await assert.rejects(StorageClient.connect(node!, { ...options, tls: tool, secret: Buffer.alloc(64, 'x') }), refused('NET_AUTH')); // prettier-ignore
    await assert.rejects(StorageClient.connect(node!, { ...options, tls: tool, role: 'compute', clientId: 'primary' }), refused('NET_TLS_IDENTITY')); // prettier-ignore
    seen.set('errors', errors.map((err) => `${(err as Error).stack} ${JSON.stringify(err)}`).join('\n'));
  });

  it('a tool may ask, but neither write log nor elect: rights are by role', async () => {
    const [node] = cluster.storageNodes;
    const client = await StorageClient.connect(node!, { ...access(), clientId: 'test' });
    const { scl, promisedEpoch } = await client.status();
    await assert.rejects(client.promise({ epoch: promisedEpoch + 1, writerId: 'x' }), (err) => isDbError(err, 'NET_PROTOCOL')); // prettier-ignore
    const closed = new Promise((resolve) => client.once('close', resolve));
    client.append({ epoch: promisedEpoch, begin: scl, commitLsn: scl, bytes: Buffer.alloc(8) });
    assert.ok(isDbError(await closed, 'NET_PROTOCOL'));
    const after = await StorageClient.connect(node!, { ...access(), clientId: 'test' });
    assert.equal((await after.status()).promisedEpoch, promisedEpoch);
    after.close();
  });

  it('/healthz and /metrics, of storage nodes over TLS and of the compute on its socket, are as collectors want them', async () => {
    const control = cluster.withManifest(({ volume, computes }) => controlSocketPath(volume.socketDir, computes[0]!.name)); // prettier-ignore
    const texts: [string, string][] = [];
    for (const node of cluster.storageNodes) {
      const [status, health] = await get(node, '/healthz');
      const body = JSON.parse(health) as { status: string; reasons: string[] };
      assert.deepEqual([status, body.status, body.reasons], [200, 'ok', []]);
      texts.push([`storage ${node.id}`, (await get(node, '/metrics'))[1]]);
    }
    const [status, health] = await answerOf({ socketPath: control, path: '/healthz' });
    assert.deepEqual([status, JSON.parse(health)], [200, { status: 'ok', reasons: [], state: 'running' }]);
    texts.push(['compute', (await answerOf({ socketPath: control, path: '/metrics' }))[1]]);
    for (const [who, text] of texts) {
      assert.deepEqual(lintMetrics(text), [], who);
      seen.set(`metrics of ${who}`, text);
    }
    assert.match(texts[0]![1], /^aurora_storage_tls_certificate_not_after_timestamp_seconds\{.*\} 1\.?\d+/m);
    seen.set('compute status', JSON.stringify(await controlRequest(control, 'GET', '/status', 5000)));
  });

  it('renewed certificates are taken by what runs, without a restart', async () => {
    const [node] = cluster.storageNodes;
    const shown = async (): Promise<string> => {
      const socket = tls.connect({ ...access().tls!.context, host: node!.host, port: node!.port });
      await new Promise((resolve) => socket.once('secureConnect', resolve));
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const before = await shown();
    await renewCertificates(cluster.layout.root);
    const deadline = Date.now() + 60_000;
    while ((await shown()) === before) assert.ok(Date.now() < deadline, 'still the old certificate');
    await cluster.sql('insert into t values (0, null)');
  });

  it('nothing of it is in a log, a command line, an environment, a status, a metric or an error', async () => {
    const { layout } = cluster;
    const daemons = [
      ...cluster.storageNodes.map(({ id }) => storageDaemonName(id)),
      computeDaemonName('primary'),
    ];
    const pids = new Set(daemons.map((name) => runningPid(layout.run, name)!));
    for (const pid of await fs.readdir('/proc'))
      if (/^\d+$/.test(pid) && (await parentOf(pid, 2)).some((parent) => pids.has(parent)))
        pids.add(Number(pid));
    assert.ok(pids.size > 6, 'PostgreSQL and its children are among them');
    for (const pid of pids)
      for (const file of ['cmdline', 'environ'])
        seen.set(`/proc/${pid}/${file}`, await fs.readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => ''));
    for (const name of await fs.readdir(path.join(layout.root, 'log')))
      seen.set(name, await fs.readFile(path.join(layout.root, 'log', name), 'latin1'));
    for (const file of await filesBelow(cluster.computeDir))
      if (/\.log$/.test(file)) seen.set(file, await fs.readFile(file, 'latin1'));
    for (const name of await fs.readdir(layout.run)) seen.set(name, await fs.readFile(path.join(layout.run, name), 'latin1')); // prettier-ignore
    assert.ok(seen.size > 20 && [...seen].every(([name, text]) => !/^storage.*log$/.test(name) || text.includes('"debug"') || text.length > 0)); // prettier-ignore
    const secrets = await secretsOf(layout.root);
    assert.ok(secrets.length > 12);
    for (const [where, text] of seen)
      for (const [what, secret] of secrets) assert.ok(!text.includes(secret), `${what} is in ${where}`);
  });

  it('each line of a daemon log is one JSON object with time, level and component; errors have a code', async () => {
    for (const name of await fs.readdir(path.join(cluster.layout.root, 'log'))) {
      const text = await fs.readFile(path.join(cluster.layout.root, 'log', name), 'utf8');
      const lines = text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>); // prettier-ignore
      assert.ok(lines.length > 1, name);
      for (const line of lines) {
        assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
        assert.match(String(line['level']), /^(debug|info|warn|error|fatal)$/);
        assert.equal(line['component'], name.startsWith('storage') ? 'storage' : 'compute');
        if (line['err'] && line['level'] === 'error') assert.ok(line['code'], JSON.stringify(line));
      }
      if (name === 'storage-1.log')
        assert.deepEqual(lines.filter((line) => String(line['msg']).startsWith('connection refused')).map((line) => line['code']), ['NET_TLS_REQUIRED', 'NET_AUTH', 'NET_TLS_IDENTITY']); // prettier-ignore
    }
  });

  it('files are for their owner alone, although the umask would let everybody write', async () => {
    const { layout } = cluster;
    const open: string[] = [];
    for (const folder of new Set([layout.root, path.dirname(cluster.computeDir)]))
      for (const file of await filesBelow(folder)) {
        const stat = await fs.lstat(file).catch(() => null); // PostgreSQL removes files meanwhile
        if (!stat || stat.isSymbolicLink() || file.endsWith('.crt')) continue;
        // What PostgreSQL is configured with, and how far it may write: its account must read it, and it is no secret.
        const forAll = /\/compute\/[^/]+\/managed(\/|$)/.test(file) || path.basename(file) === 'walgate';
        const wrong = stat.mode & 0o022 || (!forAll && stat.mode & 0o044 && (await reachable(file)));
        if (wrong) open.push(`${file} ${(stat.mode & 0o777).toString(8)}`);
      }
    assert.deepEqual(open, []);
    for (const file of [
      layout.secret,
      path.join(layout.tls, 'ca.key'),
      memberFiles(layout.tls, 'node:1').keyFile,
    ])
      assert.equal((await fs.stat(file)).mode & 0o777, 0o600, file);
    TlsCredentials.load(memberFiles(layout.tls, 'tool'));
  });

  /** Whether others can get to a file at all: search permission on every folder above it. */
  async function reachable(file: string): Promise<boolean> {
    for (let dir = path.dirname(file); dir !== path.dirname(dir); dir = path.dirname(dir))
      if (((await fs.stat(dir)).mode & 0o001) === 0) return false;
    return true;
  }

  /** The secret, the password, and of each private key its middle line: those at the ends are much the same in all. */
  async function secretsOf(root: string): Promise<[string, string][]> {
    const found: [string, string][] = [['the password', PASSWORD]];
    const secret = (await fs.readFile(path.join(root, 'secret'), 'utf8')).trim();
    found.push(
      ['the secret', secret],
      ['the secret, decoded', Buffer.from(secret, 'hex').toString('latin1')],
    );
    for (const name of await fs.readdir(path.join(root, 'tls'))) {
      const text = await fs.readFile(path.join(root, 'tls', name), 'utf8');
      const key = /PRIVATE KEY-----\n([^-]+)\n-----END/.exec(text)?.[1]?.replaceAll('\n', '');
      if (key === undefined) continue;
      found.push([`the key ${name}`, key.slice(64, 128)], [`the key ${name}, decoded`, Buffer.from(key, 'base64').subarray(40, 64).toString('latin1')]); // prettier-ignore
    }
    return found;
  }
});

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await fs.readdir(dir, { recursive: true, withFileTypes: true });
  return entries.map((entry) => path.join(entry.parentPath, entry.name));
}

/** A process's ancestors, the nearest first. */
async function parentOf(pid: string, generations: number): Promise<number[]> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const parent = /^\d+ \(.*\) \S (\d+)/s.exec(stat)?.[1];
  if (parent === undefined) return [];
  return [Number(parent), ...(generations > 1 ? await parentOf(parent, generations - 1) : [])];
}
