// Whoever can reach a port or socket of the daemons sends garbage, half frames, lies and floods, for a while and from a seed: the daemons live,
// their memory is bounded, a client beside it all is served, every refusal has a code in the log, and the log stays small.
// SEED=n repeats a run; HOSTILE_SECONDS makes it longer (npm run soak:hostile).
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { freePort } from '../../src/cluster/ports.js';
import { computeDaemonName, storageDaemonName } from '../../src/cluster/start.js';
import { toolAccess } from '../../src/cluster/tls.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import { StorageClient } from '../../src/net/storage-client.js';
import {
  BAD_FRAME_KINDS,
  GARBAGE_KINDS,
  badFrames,
  garbage,
  holdOpen,
  lyingClient,
  Random,
  shout,
  type Target,
} from '../helpers/attackers.js';
import { TestCluster } from '../helpers/cluster.js';

const SECONDS = Number(process.env['HOSTILE_SECONDS'] ?? 3);
const SEED = Number(process.env['SEED'] ?? 1);
/** Beyond what the daemon had before: 256 connections with buffers, and the collector's leisure. */
const GROWTH_BYTES_MAX = 200 * 1024 * 1024;
/** A line a second and kind, and bursts. */
const LOG_BYTES_MAX = 300_000 + SECONDS * 3000;

for (const tls of [false, true])
  describe(`hostile input${tls ? ', with TLS' : ''} (seed ${SEED}, ${SECONDS} s)`, function () {
    this.timeout(120_000 + SECONDS * 10_000);
    const random = new Random(SEED);
    const metricsPort = { port: 0, host: '127.0.0.1' };
    const settings = process.env['AURORA_STORAGE_SETTINGS'];
    let cluster: TestCluster;
    let client: StorageClient;

    before(async () => {
      metricsPort.port = await freePort();
      process.env['AURORA_STORAGE_SETTINGS'] = JSON.stringify({ metricsPort: metricsPort.port });
      cluster = await TestCluster.start({ storageNodes: 1, tls });
      client = await StorageClient.connect(cluster.storageNodes[0]!, { ...access(), clientId: 'bystander' });
    });

    after(async () => {
      if (settings === undefined) delete process.env['AURORA_STORAGE_SETTINGS'];
      else process.env['AURORA_STORAGE_SETTINGS'] = settings;
      client.close();
      await cluster.destroy();
    });

    const access = (): ReturnType<typeof toolAccess> =>
      cluster.withManifest((manifest) => toolAccess(cluster.layout, manifest.volume));

    it('is refused with a code; the daemons live in bounded memory and serve others meanwhile', async () => {
      const [node] = cluster.storageNodes;
      const targets = await everyTarget();
      const pids = { storage: cluster.storagePid('1')!, compute: cluster.computePid()! };
      const before = { storage: await rss(pids.storage), compute: await rss(pids.compute) };
      const peak = { ...before };
      await cluster.sql('create table alive (n int)');
      const deadline = Date.now() + SECONDS * 1000;
      let rounds = 0;
      let served = 0;
      do {
        rounds += 1;
        const attacks = targets.flatMap((target) =>
          Array.from({ length: GARBAGE_KINDS }, (_, kind) =>
            shout(target, garbage(random, kind), random.pick([0, 0, 20])),
          ),
        );
        for (let kind = 0; kind < BAD_FRAME_KINDS; kind++) attacks.push(badFrames(node!, random, kind));
        const roles = ['tool', 'tool', 'peer'] as const;
        if (!tls)
          attacks.push(
            lyingClient(node!, { ...access(), role: random.pick(roles), clientId: `liar${rounds}` }, random),
          );
        else attacks.push(lyingClient(node!, { ...access(), clientId: `liar${rounds}` }, random));
        const beside = (async () => {
          assert.equal((await client.status(20_000)).id, '1');
          const fresh = await StorageClient.connect(node!, {
            ...access(),
            clientId: 'newcomer',
            connectTimeoutMs: 20_000,
          });
          assert.equal((await fresh.status(20_000)).id, '1');
          fresh.close();
          await cluster.sql(`insert into alive values (${rounds})`);
          served += 1;
        })();
        await Promise.all([...attacks, beside]);
        for (const who of ['storage', 'compute'] as const)
          peak[who] = Math.max(peak[who], await rss(pids[who]));
      } while (Date.now() < deadline);
      // A flood of connections that say next to nothing, beyond what is held open, with a newcomer in the midst of it.
      const floods = targets.map((target) => holdOpen(target, 300, 2000));
      const newcomer = await StorageClient.connect(node!, {
        ...access(),
        clientId: 'newcomer',
        connectTimeoutMs: 20_000,
      });
      assert.equal((await newcomer.status(20_000)).id, '1');
      newcomer.close();
      const [cut] = await Promise.all(floods);
      assert.ok(cut! >= 44, `the storage port holds 256 strangers at most, ended ${cut} of 300`);
      for (const who of ['storage', 'compute'] as const)
        peak[who] = Math.max(peak[who], await rss(pids[who]));

      assert.deepEqual({ storage: cluster.storagePid('1'), compute: cluster.computePid() }, pids);
      assert.equal(served, rounds);
      assert.equal((await cluster.sql('select count(*)::int as n from alive'))[0]!['n'], rounds);
      for (const who of ['storage', 'compute'] as const)
        assert.ok(
          peak[who] - before[who] < GROWTH_BYTES_MAX,
          `${who}: from ${mib(before[who])} to ${mib(peak[who])} MiB`,
        );
      if (process.env['HOSTILE_SECONDS'])
        console.log(
          `      ${rounds} rounds; MiB before and at most: storage ${mib(before.storage)} ${mib(peak.storage)}, compute ${mib(before.compute)} ${mib(peak.compute)}`,
        );
    });

    it('is in the logs by its code, in few lines', async () => {
      const wanted = {
        [storageDaemonName('1')]: tls
          ? ['NET_TLS_REQUIRED', 'NET_TLS_FAILED']
          : ['NET_BAD_HTTP', 'NET_TLS_NOT_SPOKEN'],
        [computeDaemonName('primary')]: ['NET_BAD_HTTP', 'COMPUTE_AGENT_REQUEST'],
      };
      for (const [name, codes] of Object.entries(wanted)) {
        const text = await fs.readFile(path.join(cluster.layout.root, 'log', `${name}.log`), 'utf8');
        const stray = text.split('\n').findIndex((line) => line !== '' && !line.startsWith('{'));
        assert.equal(
          stray,
          -1,
          `${name}: ${text
            .split('\n')
            .slice(stray, stray + 20)
            .join('\n')}`,
        );
        assert.ok(text.length < LOG_BYTES_MAX, `${name}.log has ${text.length} bytes`);
        const lines = text.trim().split('\n').map((line) => JSON.parse(line) as { code?: string; level: string; suppressed?: Record<string, number> }); // prettier-ignore
        const told = new Set(
          lines.flatMap(({ code, suppressed = {} }) => [code ?? '', ...Object.keys(suppressed)]),
        );
        for (const code of codes)
          assert.ok(told.has(code), `${code} is not in ${name}.log, but ${[...told].join(' ')}`);
        assert.deepEqual(lines.filter((line) => ['error', 'fatal'].includes(line.level)).slice(0, 3), [], name); // prettier-ignore
      }
    });

    /** The storage port first, and whatever else listens. */
    async function everyTarget(): Promise<Target[]> {
      const [node] = cluster.storageNodes;
      const control = cluster.withManifest(({ volume, computes }) => controlSocketPath(volume.socketDir, computes[0]!.name)); // prettier-ignore
      const names = await fs.readdir(cluster.socketDir);
      const agent = names.find((name) => /agent/.test(name));
      assert.ok(agent, `no page agent among ${names.join(' ')}`);
      return [
        { port: node!.port, host: node!.host },
        metricsPort,
        { path: control },
        { path: path.join(cluster.socketDir, agent) },
      ];
    }
  });

/** Resident bytes of a process. */
async function rss(pid: number): Promise<number> {
  const status = await fs.readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}

function mib(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}
