/** How long after a crash the first query is answered, with a given amount of WAL written since creation. */
import { promises as fs } from 'node:fs';
import { eventually } from '../helpers/cluster.js';
import { connect, openAurora, singlePostgres, type Target } from './servers.js';

export interface ColdStart {
  walMb: number;
  /** From `aurora start` of the compute on an erased disk (storage nodes up) to the first answer. */
  auroraMs: number;
  /** From starting the killed server to the first answer. */
  postgresMs: number;
}

/** Writes about `mb` MB of WAL with ordinary inserts and updates, in transactions. */
async function writeWal(target: Target, mb: number): Promise<void> {
  const client = await connect(target);
  try {
    await client.query('create table bulk (id bigint generated always as identity primary key, v text)');
    const written = async (): Promise<number> =>
      Number(
        (await client.query(`select pg_wal_lsn_diff(pg_current_wal_lsn(), $1)::bigint::text as n`, [begin]))
          .rows[0].n,
      );
    const begin = (await client.query('select pg_current_wal_lsn()::text as at')).rows[0].at as string;
    while ((await written()) < mb * 2 ** 20)
      await client.query(
        `insert into bulk (v) select md5(g::text) || md5((g + 1)::text) from generate_series(1, 20000) g`,
      );
  } finally {
    await client.end();
  }
}

async function firstAnswer(target: Target): Promise<void> {
  const client = await connect(target);
  await client.query('select count(*) from (select from bulk limit 1) b');
  await client.end();
}

export async function coldStarts(walMb: number, say: (line: string) => void): Promise<ColdStart> {
  const aurora = await openAurora();
  let auroraMs: number;
  try {
    await writeWal(aurora, walMb);
    // A kill in the middle of ingest would measure the backlog, not the start; what that takes is another figure (docs/PERFORMANCE.md).
    await eventually(
      'every node has applied the load',
      async () => {
        const { storage, volume } = await aurora.cluster.status();
        return storage.every((node) => node.applied !== null && node.applied === volume.commitLsn);
      },
      300_000,
    );
    await aurora.cluster.killCompute();
    aurora.cluster.eraseCompute();
    const begun = performance.now();
    await aurora.cluster.start();
    await firstAnswer(aurora);
    auroraMs = performance.now() - begun;
  } finally {
    await aurora.destroy();
  }
  // No checkpoint in between: all of it has to be recovered, as all of it is read here by nobody.
  const single = await singlePostgres({ max_wal_size: '64GB', checkpoint_timeout: '1d' });
  let postgresMs: number;
  try {
    await writeWal(single, walMb);
    await single.instance.stop('SIGKILL');
    await fs.rm(`${single.instance.dir}/postmaster.pid`, { force: true });
    const begun = performance.now();
    await single.instance.start(single.settings);
    await firstAnswer(single);
    postgresMs = performance.now() - begun;
  } finally {
    await single.destroy();
  }
  say(
    `-- cold start, ${walMb} MB of WAL: OpenAurora ${(auroraMs / 1000).toFixed(2)} s, PostgreSQL ${(postgresMs / 1000).toFixed(2)} s`,
  );
  return { walMb, auroraMs, postgresMs };
}
