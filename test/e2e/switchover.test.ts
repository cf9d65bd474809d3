/**
 * A switchover whose successor dies on the way, at each of its steps: whoever asked for it is told in clear words, the primary goes on (or, if it dies
 * as well, a replica that may follows), there is one writer, and nothing that was acknowledged is lost.
 */
import { strict as assert } from 'node:assert';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { controlRequest } from '../../src/cluster/control-client.js';
import { promote } from '../../src/cluster/promote.js';
import { computeDaemonName } from '../../src/cluster/start.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import type { ComputeStatus } from '../../src/compute/status.js';
import { computeOfWriter } from '../../src/engine/computes/types.js';
import { isDbError } from '../../src/engine/errors.js';
import { bankCluster } from '../helpers/bank-cluster.js';
import { eventually, type TestCluster } from '../helpers/cluster.js';
import { caughtUp, PATIENCE_MS, type Computes } from '../helpers/computes.js';
import type { WatchedBank } from '../helpers/watched-bank.js';

describe('a switchover whose successor dies', function () {
  this.timeout(PATIENCE_MS * 4);
  let cluster: TestCluster;
  let computes: Computes;
  let bank: WatchedBank;

  bankCluster({ r1: { failover: true, priority: 80 } }, (made) => ({ cluster, computes, bank } = made));

  const logFile = (name: string): string =>
    path.join(cluster.layout.root, 'log', `${computeDaemonName(name)}.log`);

  /** Asks for the switchover to r1, has `strike` called as soon as the primary has agreed, and returns what the asker is told; null: it was done. */
  async function handOver(strike: (pids: readonly number[]) => Promise<void>): Promise<string | null> {
    const pids = await computes.pids('r1');
    assert.equal(pids.length, 2);
    let struck: Promise<void> | null = null;
    const refused = await promote({
      root: cluster.layout.root,
      name: 'r1',
      force: false,
      timeoutMs: PATIENCE_MS,
      progress: () => {
        struck ??= strike(pids);
      },
    }).then(
      () => null,
      (err: unknown) => err,
    );
    assert.ok(struck, 'the primary did not agree');
    await struck;
    if (refused === null) return null;
    assert.ok(isDbError(refused, 'CLUSTER_NOT_PROMOTED'), `not told: ${String(refused)}`);
    return `${refused.message} ${refused.hint ?? ''}`;
  }

  /** The primary's PostgreSQL has ended, and the primary waits for its successor. Others are not asked: one is asleep. */
  const primaryWaits = (): Promise<boolean> =>
    eventually('the primary has stopped', async () => {
      const socket = controlSocketPath(cluster.socketDir, 'primary');
      const { state, postgresPid } = await controlRequest<ComputeStatus>(
        socket,
        'GET',
        '/status',
        PATIENCE_MS,
      );
      return state === 'handing-over' && postgresPid === null;
    });

  const signal = (pids: readonly number[], name: NodeJS.Signals): void => {
    for (const pid of pids) process.kill(pid, name);
  };

  /** `writer` writes, nobody else does, and it has all that was ever acknowledged; r1 started again is its replica, and as complete. */
  async function assertOneWriter(writer: string): Promise<void> {
    const { computes: known } = await cluster.status();
    const first = await bank.firstWrite(
      known.map(({ name }) => name),
      performance.now(),
    );
    assert.equal(first.name, writer);
    await bank.audit(writer);
    await computes.start('r1');
    await computes.is('r1', 'replica');
    const { computes: all } = await cluster.status();
    assert.deepEqual(
      all.filter(({ role }) => role === 'primary').map(({ name }) => name),
      [writer],
    );
    const [now, replica] = [await computes.client(writer), await computes.client('r1')];
    await caughtUp(now, replica);
    await bank.auditBy(replica);
    await Promise.all([now.end(), replica.end()]);
  }

  /** Where a step is noticed from outside, the successor may be faster than we: then it was the primary for a moment, which is a failover. */
  const assertToldIfAtAll = (told: string | null): void => {
    if (told !== null) assert.match(told, OLD_PRIMARY_GOES_ON);
  };

  const OLD_PRIMARY_GOES_ON =
    /"r1" ended before it was the primary; "primary" is the primary.*aurora compute start r1/;

  it('before the primary has stopped', async () => {
    await bank.loadUntilBroken('primary', async () => {
      const [, postmaster] = await computes.pids('primary');
      // It cannot end before its successor has: in that order, on whatever machine.
      process.kill(postmaster!, 'SIGSTOP');
      const told = await handOver((pids) => {
        signal(pids, 'SIGKILL');
        process.kill(postmaster!, 'SIGCONT');
        return Promise.resolve();
      });
      assert.match(told ?? 'it was done', OLD_PRIMARY_GOES_ON);
    });
    await assertOneWriter('primary');
  });

  it('after the primary has stopped, before it takes over', async () => {
    await bank.loadUntilBroken('primary', async () => {
      const told = await handOver(async (pids) => {
        signal(pids, 'SIGSTOP');
        await primaryWaits();
        signal(pids, 'SIGKILL');
      });
      assert.match(told ?? 'it was done', OLD_PRIMARY_GOES_ON);
    });
    await assertOneWriter('primary');
  });

  it('in its election, with an epoch of its own promised', async () => {
    await bank.loadUntilBroken('primary', async () => {
      const told = await handOver(async (pids) => {
        await cluster.withNode('1', (node) =>
          eventually(
            'the epoch is promised',
            async () => computeOfWriter((await node.computes()).promisedTo) === 'r1',
          ),
        );
        // The standby's postmaster has ended, and the writer's dies with its daemon.
        signal(pids.slice(0, 1), 'SIGKILL');
      });
      assertToldIfAtAll(told);
    });
    await assertOneWriter('primary');
  });

  it('while its PostgreSQL starts', async () => {
    await bank.loadUntilBroken('primary', async () => {
      const from = statSync(logFile('r1')).size;
      const told = await handOver(async (pids) => {
        await eventually('its data directory is made', () =>
          readFileSync(logFile('r1')).subarray(from).includes('data directory made from storage'),
        );
        signal(pids.slice(0, 1), 'SIGKILL');
      });
      assertToldIfAtAll(told);
    });
    await assertOneWriter('primary');
  });

  it('and the primary with it: a replica that may, follows', async () => {
    await computes.add('r2', { failover: true });
    await bank.loadUntilBroken('primary', async () => {
      const told = await handOver(async (pids) => {
        signal(pids, 'SIGSTOP');
        await primaryWaits();
        await computes.kill('primary');
        signal(pids, 'SIGKILL');
      });
      assert.match(told ?? 'it was done', /"r1" ended before it was the primary; "r2" is the primary/);
    });
    await assertOneWriter('r2');
  });

  it('not, but the primary, after it has agreed: the successor takes over, also one that may not by itself', async () => {
    await computes.kill('r1');
    await computes.add('quiet', { failover: false });
    await bank.loadUntilBroken('r2', async () => {
      const pids = await computes.pids('r2');
      await promote({
        root: cluster.layout.root,
        name: 'quiet',
        force: false,
        timeoutMs: PATIENCE_MS,
        progress: () => {
          if (computes.pid('r2') !== null) signal(pids, 'SIGKILL');
        },
      });
    });
    await assertOneWriter('quiet');
  });
});
