/**
 * Who writes: a planned switchover, a primary that is killed, one that is stopped in its tracks and wakes up, and clients that find the new
 * primary by one connection string. After each: nothing acknowledged is lost, nothing unacknowledged of a fenced primary is visible.
 * ROUNDS repeats the kill and prints how long each took (npm run soak:failover).
 */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import pg from 'pg';
import { isAlive } from '../../src/cluster/daemon-process.js';
import { promote } from '../../src/cluster/promote.js';
import { bankCluster } from '../helpers/bank-cluster.js';
import type { TestCluster } from '../helpers/cluster.js';
import { caughtUp, PATIENCE_MS, type Computes } from '../helpers/computes.js';
import type { WatchedBank } from '../helpers/watched-bank.js';

const ROUNDS = Number(process.env['ROUNDS'] ?? 1);
const run = promisify(execFile);

/** Pids of a postmaster's processes, backends and all. */
function childrenOf(postmaster: number): number[] {
  return readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8')
    .trim()
    .split(' ')
    .map(Number);
}

describe('failover', function () {
  this.timeout(PATIENCE_MS * 4 + ROUNDS * PATIENCE_MS);
  let cluster: TestCluster;
  let computes: Computes;
  let bank: WatchedBank;

  bankCluster(
    { r1: { failover: true, priority: 80 }, r2: { failover: false } },
    (made) => ({ cluster, computes, bank } = made),
  );

  it('switchover: the primary hands over to the replica that is named, and becomes its replica', async () => {
    let tookMs = 0;
    await bank.loadUntilBroken('primary', async () => {
      ({ tookMs } = await promote({
        root: cluster.layout.root,
        name: 'r1',
        force: false,
        timeoutMs: PATIENCE_MS,
      }));
    });
    console.log(`      switchover took ${Math.round(tookMs)} ms`);
    await bank.audit('r1');
    await computes.is('r1', 'primary');
    await computes.is('primary', 'replica');
    const [old, now] = [await computes.client('primary'), await computes.client('r1')];
    await caughtUp(now, old);
    await bank.auditBy(old);
    await assert.rejects(
      promote({ root: cluster.layout.root, name: 'r1', force: false, timeoutMs: 1000 }),
      /already/,
    );
    await Promise.all([old.end(), now.end()]);
  });

  it('finds the writer and the readers by one string: libpq, and any driver that asks each host', async () => {
    const { endpoints, superuser } = await cluster.status();
    // load_balance_hosts came with libpq 16; what an older one makes of the rest is worth as much.
    const version = Number(/\d+/.exec((await run('psql', ['--version'])).stdout)![0]);
    const spoken = (dsn: string): string => (version < 16 ? dsn.replace(/&load_balance_hosts=\w+/, '') : dsn);
    const ask = async (dsn: string): Promise<string> =>
      (
        await run('psql', [
          '-X',
          '-At',
          spoken(dsn),
          '-c',
          `select pg_is_in_recovery(), current_setting('port')`,
        ])
      ).stdout.trim();
    assert.equal(await ask(endpoints.writer), `f|${computes.port('r1')}`);
    assert.match(await ask(endpoints.reader), /^t\|/);
    assert.match(await ask(endpoints.any), /^[tf]\|/);
    // node-postgres takes one host; with several it is asked which of them is the primary.
    let writer: pg.Client | null = null;
    for (const { port } of (await cluster.status()).computes) {
      const client = new pg.Client({ host: cluster.socketDir, port, user: superuser, database: 'postgres' });
      await client.connect();
      const { rows } = await client.query('show transaction_read_only');
      if (rows[0].transaction_read_only === 'off') writer = client;
      else await client.end();
    }
    assert.equal(writer?.port, computes.port('r1'));
    await writer.end();
  });

  it('a primary that is killed is followed by the replica that may, without a person; restarted it is a replica', async () => {
    const times: number[] = [];
    // "primary" is the replica now, and as eligible as the first compute is.
    let [from, to] = ['r1', 'primary'];
    for (let round = 0; round < ROUNDS; round++) {
      let since = 0;
      let first: { name: string; ms: number } | null = null;
      await bank.loadUntilBroken(from, async () => {
        since = performance.now();
        await computes.kill(from);
        first = await bank.firstWrite([to, 'r2'], since);
      });
      assert.equal(first!.name, to);
      times.push(first!.ms);
      await bank.audit(to);
      await computes.start(from);
      await computes.is(from, 'replica');
      [from, to] = [to, from];
    }
    times.sort((a, b) => a - b);
    const at = (q: number): number =>
      Math.round(times[Math.min(times.length - 1, Math.floor(times.length * q))]!);
    console.log(
      `      kill -9 to first accepted write, ${ROUNDS} rounds, ${bank.acknowledgedCount} commits acknowledged, none lost: ` +
        `shortest ${at(0)} ms, median ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 and longest ${at(1)} ms`,
    );
  });

  const STALLS: [string, (pids: { daemon: number; postmaster: number }) => number[]][] = [
    ['daemon and postmaster', ({ daemon, postmaster }) => [daemon, postmaster]],
    ['the daemon alone', ({ daemon }) => [daemon]],
    ['all of PostgreSQL', ({ postmaster }) => [postmaster, ...childrenOf(postmaster)]],
  ];
  for (const [what, which] of STALLS)
    it(`a primary that was stopped in its tracks (${what}) is fenced when it wakes up, and comes back as a replica`, async () => {
      const { computes: now } = await cluster.status();
      const old = now.find((compute) => compute.role === 'primary')!.name;
      const heir = old === 'r1' ? 'primary' : 'r1';
      const stale = await computes.client(old);
      await stale.query('begin');
      const ghost = bank.nextId++;
      await stale.query('insert into journal values ($1, 1, 2, 0)', [ghost]);
      const { pid, postgresPid } = await computes.report(old);
      const paused = which({ daemon: pid!, postmaster: postgresPid! });
      const since = performance.now();
      for (const p of paused) process.kill(p, 'SIGSTOP');
      try {
        // A daemon that lives goes on saying so: then only a person can tell that its PostgreSQL hangs.
        if (!paused.includes(pid!)) await promote({ root: cluster.layout.root, name: heir, force: true, timeoutMs: PATIENCE_MS }); // prettier-ignore
        const first = await bank.firstWrite([heir], since);
        assert.equal(first.name, heir);
      } finally {
        // Its daemon may have lost patience with a PostgreSQL that does not end.
        for (const p of paused) if (isAlive(p)) process.kill(p, 'SIGCONT');
      }
      await assert.rejects(stale.query('commit'), 'a fenced primary let a transaction commit');
      await computes.is(old, 'replica');
      const [writer, reader] = [await computes.client(heir), await computes.client(old)];
      await caughtUp(writer, reader);
      for (const client of [writer, reader]) {
        assert.equal((await client.query('select 1 from journal where id = $1', [ghost])).rows.length, 0);
        await bank.auditBy(client);
      }
      await Promise.all([writer.end(), reader.end()]);
    });

  it('of several that may follow just one does, the first in line', async () => {
    await computes.add('r3', { failover: true, priority: 90 });
    await computes.add('r4', { failover: true, priority: 85 });
    const line = ['r3', 'r4', 'r1', 'primary'];
    let from = (await cluster.status()).computes[0]!.name;
    for (let round = 0; round < ROUNDS + 1; round++) {
      const { epoch } = await computes.report(from);
      const others = line.filter((name) => name !== from);
      let first: { name: string } | null = null;
      await bank.loadUntilBroken(from, async () => {
        await computes.kill(from);
        first = await bank.firstWrite(others, performance.now());
      });
      const to = others[0]!;
      assert.equal(first!.name, to, `after ${from}`);
      for (const name of [...others.slice(1), 'r2']) await computes.is(name, 'replica');
      assert.equal(
        (await computes.is(to, 'primary')).epoch,
        epoch! + 1,
        'another one was elected in between',
      );
      await bank.audit(to);
      await computes.start(from);
      from = to;
    }
  });
});
