/** What bench:redo replays: a base data directory, stopped cleanly, and the WAL that PostgreSQL 18 wrote from there on until it was killed. */
import { execFile } from 'node:child_process';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { giveTo } from '../../src/compute/postgres.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { pgbench } from './pgbench.js';

const run = promisify(execFile);

export interface RedoParameters {
  /** pgbench -s. */
  scale: number;
  transactions: number;
  clients: number;
  bulkRows: number;
  /** Share of the rows that come when the indexes are there. */
  bulkAfter: number;
  /** Kinds of the bulk load's indexes; see INDEXES. */
  indexes: readonly string[];
  /** Off is what our computes write; on adds an image of each page at its first change. */
  fullPageWrites: 'on' | 'off';
}

/** Everything lies in `root`; remove it when done. */
export interface RecordedWal {
  readonly name: string;
  readonly root: string;
  /** As of the clean stop; its pg_wal ends there. */
  readonly baseDir: string;
  /** The segments from the base's last one on. */
  readonly walDir: string;
  /** pg_control as the killed server left it: with it, the base recovers from the WAL. */
  readonly crashedControl: string;
  /** At least up to here the WAL was on disk when the server was killed. */
  readonly flushedLsn: Lsn;
  readonly parameters: RedoParameters;
}

/** Nothing may be recycled or replayed from elsewhere: no checkpoint between the clean stop and the kill. */
const SERVER_SETTINGS = {
  shared_buffers: '512MB',
  max_connections: '100',
  maintenance_work_mem: '256MB',
  max_wal_size: '64GB',
  checkpoint_timeout: '1d',
  wal_recycle: 'off',
  wal_level: 'replica',
};

const INDEXES: Readonly<Record<string, readonly string[]>> = {
  btree: ['CREATE UNIQUE INDEX bulk_id ON bulk (id)', 'CREATE INDEX bulk_t ON bulk (t)'],
  hash: ['CREATE INDEX bulk_hash ON bulk USING hash (k)'],
  gin: ['CREATE INDEX bulk_gin ON bulk USING gin (a)'],
  gist: ['CREATE INDEX bulk_gist ON bulk USING gist (p)'],
  spgist: ['CREATE INDEX bulk_spgist ON bulk USING spgist (p)'],
  brin: ['CREATE INDEX bulk_brin ON bulk USING brin (at) WITH (pages_per_range = 16)'],
  bloom: ['CREATE EXTENSION bloom', 'CREATE INDEX bulk_bloom ON bulk USING bloom (k, id)'],
};

export const INDEX_KINDS: readonly string[] = Object.keys(INDEXES);

interface Workload {
  readonly name: string;
  /** Before the base is taken. */
  prepare(server: PlainPostgres, root: string): Promise<void>;
  run(server: PlainPostgres, root: string): Promise<void>;
}

/** TPC-B as pgbench has it, on a loaded database: small transactions all over a large table, and a few hot pages. */
export function pgbenchWorkload(parameters: RedoParameters): Workload {
  const target = (server: PlainPostgres) => ({
    name: 'recording',
    host: server.socketDir,
    port: server.port,
    user: 'postgres',
    destroy: () => server.destroy(),
  });
  const { scale, transactions, clients } = parameters;
  return {
    name: `pgbench, scale ${scale}, ${transactions} transactions`,
    prepare: async (server) => void (await pgbench(target(server), ['-i', '-q', '-s', String(scale)])),
    run: async (server) => {
      const each = Math.max(1, Math.round(transactions / clients));
      const args = ['-n', '-c', clients, '-j', 2, '-t', each, '-M', 'prepared'];
      await pgbench(target(server), args.map(String));
    },
  };
}

/** COPY into a bare table, index builds, and COPY of the rest into the indexed table. */
export function bulkWorkload(parameters: RedoParameters): Workload {
  const { bulkRows, bulkAfter, indexes } = parameters;
  const unknown = indexes.filter((kind) => !INDEXES[kind]);
  if (unknown.length > 0)
    throw new Error(`no such kind of index: ${unknown.join(', ')}; there are ${INDEX_KINDS.join(', ')}`);
  const rows = (from: number, to: number): string =>
    `SELECT g, hashint4(g) % 50000, md5(g::text), ARRAY[g % 97, g % 1009, hashint4(g) % 20011],
       point(hashint4(g) % 10007, hashint4(g + 1) % 10007), timestamp '2026-01-01' + g * interval '1 second'
     FROM generate_series(${from}, ${to}) g`;
  const first = Math.round(bulkRows * (1 - bulkAfter));
  return {
    name: `bulk load, ${bulkRows} rows, indexes ${indexes.join(', ')}, ${bulkAfter * 100} % of the rows after them`,
    prepare: async (server, root) => {
      await server.sql(`COPY (${rows(1, first)}) TO '${path.join(root, 'first.copy')}'`);
      await server.sql(`COPY (${rows(first + 1, bulkRows)}) TO '${path.join(root, 'second.copy')}'`);
    },
    run: async (server, root) => {
      await server.sql('CREATE TABLE bulk (id int, k int, t text, a int[], p point, at timestamp)');
      await server.sql(`COPY bulk FROM '${path.join(root, 'first.copy')}'`);
      for (const kind of indexes) for (const statement of INDEXES[kind]!) await server.sql(statement);
      await server.sql(`COPY bulk FROM '${path.join(root, 'second.copy')}'`);
      await server.sql('VACUUM bulk');
    },
  };
}

/** Lets PostgreSQL write the WAL. On failure nothing is left. */
export async function recordWal(
  workload: Workload,
  parameters: RedoParameters,
  say: (line: string) => void,
): Promise<RecordedWal> {
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-redo-'));
  let server: PlainPostgres | null = null;
  try {
    server = await startPlainPostgres({
      settings: { ...SERVER_SETTINGS, full_page_writes: parameters.fullPageWrites },
    });
    await giveTo(server.install, root); // the server writes files for its own COPY there
    await workload.prepare(server, root);
    await server.stop();
    const recorded = {
      name: workload.name,
      root,
      baseDir: path.join(root, 'base'),
      walDir: path.join(root, 'wal'),
      crashedControl: path.join(root, 'pg_control'),
      parameters,
    };
    await run('cp', ['-a', server.dataDir, recorded.baseDir]);
    await server.start();
    const begun = performance.now();
    await workload.run(server, root);
    const [row] = await server.sql('SELECT pg_current_wal_insert_lsn()::text AS written');
    await server.sql("SELECT pg_logical_emit_message(true, 'bench', 'end')"); // its commit puts all before it on disk
    await server.stop('immediate');
    say(`   recorded in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    await run('mv', [path.join(server.dataDir, 'pg_wal'), recorded.walDir]);
    await run('mv', [path.join(server.dataDir, 'global', 'pg_control'), recorded.crashedControl]);
    for (const name of ['first.copy', 'second.copy']) await fs.rm(path.join(root, name), { force: true });
    return { ...recorded, flushedLsn: parseLsn(row!['written'] as string) };
  } catch (err) {
    await fs.rm(root, { recursive: true, force: true });
    throw err;
  } finally {
    await server?.destroy();
  }
}
