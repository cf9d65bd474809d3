/**
 * A bulk load that no commit holds up, faster than the storage nodes make pages: it is slowed, not broken. What the nodes are behind, what
 * PostgreSQL is ahead on its local disk, and every daemon's memory stay within bounds; a compute killed in the middle is back soon.
 */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import type { ComputeStatus } from '../../src/compute/status.js';
import { BACKLOG_BYTES_MAX } from '../../src/compute/volume-writer.js';
import { controlSocketPath } from '../../src/compute/control-path.js';
import { controlRequest } from '../../src/cluster/control-client.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { withEnvironment, withStorageSettings } from '../helpers/storage-settings.js';

const MIB = 1024 * 1024;
const LOAD_MIB = Number(process.env['LOAD_MIB'] ?? 100);
const ROW_BYTES = 400;
const ROWS = Math.ceil((LOAD_MIB * MIB) / (ROW_BYTES + 60));
const LAG_BYTES = 8 * MIB;
const COMPUTE = {
  AURORA_COMPUTE_SETTINGS: JSON.stringify({ backPressure: { lagBytes: LAG_BYTES, bytesPerSecondMin: MIB } }),
};
/** Two WAL segments and what one write may hold (wal-gate.ts), and what has come and waits for its quorum. */
const AHEAD_BYTES = 48 * MIB + BACKLOG_BYTES_MAX;

interface Seen {
  samples: number;
  lag: number;
  ahead: number;
  throttled: number;
  states: Set<string>;
}

describe('e2e: back-pressure', function () {
  this.timeout(300_000 + LOAD_MIB * 2000);
  let cluster: TestCluster;

  before(async () => {
    cluster = await withEnvironment(COMPUTE, () =>
      // Little of a node's time is for pages, so that any machine is faster than they are.
      withStorageSettings({ ingest: { sliceMs: 1, readBytes: 65536 } }, () => TestCluster.start()),
    );
    await cluster.sql('create table bulk (id int, filler text)');
  });
  after(async () => cluster?.destroy());
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs());
  });

  const status = (): Promise<ComputeStatus> =>
    controlRequest<ComputeStatus>(controlSocketPath(cluster.socketDir, 'primary'), 'GET', '/status', 10_000);

  const copy = (rows: number): string =>
    `copy bulk from program 'yes | head -n ${rows} | awk ''{printf "%d\\t%0${ROW_BYTES}d\\n", NR, NR}'''`;

  /** The most memory that a process ever had, in MiB. */
  function peakMib(pid: number): number {
    const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
    return Number(kib) / 1024;
  }

  /** Looks on until `work` is done. */
  async function watch(work: Promise<unknown>): Promise<Seen> {
    const seen: Seen = { samples: 0, lag: 0, ahead: 0, throttled: 0, states: new Set() };
    let done = false;
    const ended = work.finally(() => (done = true));
    ended.catch(() => undefined);
    const observer = await cluster.client();
    while (!done) {
      const { state, backPressure, commitLsn } = await status();
      const { rows } = await observer.query('select pg_current_wal_lsn() - $1::pg_lsn as ahead', [commitLsn]);
      seen.samples++;
      seen.states.add(state);
      seen.lag = Math.max(seen.lag, backPressure.lagBytes);
      seen.ahead = Math.max(seen.ahead, Number(rows[0].ahead));
      seen.throttled = backPressure.throttledSeconds;
    }
    await ended;
    return seen;
  }

  it('slows a bulk load down to what the nodes can do, with everything bounded', async () => {
    const session = await cluster.client();
    const seen = await watch(session.query(copy(ROWS)));
    const { states, ...figures } = seen;
    const peaks = [
      cluster.computePid()!,
      ...cluster.storageNodes.map(({ id }) => cluster.storagePid(id)!),
    ].map(peakMib);
    console.log(
      `      ${LOAD_MIB} MiB in one COPY: lag at most ${(seen.lag / MIB).toFixed(1)} MiB (wanted ${LAG_BYTES / MIB}), local WAL ahead at most ${(seen.ahead / MIB).toFixed(1)} MiB, ` +
        `held up for ${seen.throttled.toFixed(1)} s; peak memory in MiB: compute ${peaks[0]!.toFixed(0)}, nodes ${peaks
          .slice(1)
          .map((p) => p.toFixed(0))
          .join(' ')}`,
    );
    assert.ok(
      states.has('throttled'),
      `never throttled: ${JSON.stringify(figures)}, ${[...states].join(' ')}`,
    );
    assert.ok(!states.has('stalled'), [...states].join(' '));
    assert.ok(seen.lag < 4 * LAG_BYTES, `the nodes were ${seen.lag} bytes behind`);
    assert.ok(seen.ahead < AHEAD_BYTES + 8 * MIB, `PostgreSQL was ${seen.ahead} bytes ahead`);
    assert.ok(peaks[0]! < 400, `the compute daemon took ${peaks[0]} MiB`);
    for (const peak of peaks.slice(1)) assert.ok(peak < 600, `a storage node took ${peak} MiB`);
    assert.equal((await session.query('select count(*)::int as n from bulk')).rows[0].n, ROWS);
    await eventually('the load to be over', async () => (await status()).state === 'running', 60_000);
  });

  it('starts again soon after a kill in the middle of one', async () => {
    const session = await cluster.client();
    const broken = session.query(copy(ROWS)).catch((err: unknown) => err);
    await eventually('back-pressure', async () => (await status()).state === 'throttled', 60_000);
    await cluster.killCompute();
    assert.ok((await broken) instanceof Error);
    cluster.eraseCompute();
    const begun = performance.now();
    await withEnvironment(COMPUTE, () => cluster.start());
    const tookMs = performance.now() - begun;
    console.log(`      ready ${(tookMs / 1000).toFixed(1)} s after the kill`);
    assert.ok(tookMs < 30_000, `the start took ${tookMs} ms`);
    assert.equal((await cluster.sql('select count(*)::int as n from bulk'))[0]!['n'], ROWS);
  });

  it('stops with a load in the middle', async () => {
    const session = await cluster.client();
    const broken = session.query(copy(ROWS)).catch((err: unknown) => err);
    await eventually('back-pressure', async () => (await status()).state === 'throttled', 60_000);
    await cluster.stop();
    assert.ok((await broken) instanceof Error);
  });
});
