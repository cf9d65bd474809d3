/** Real WAL for the fuzzer: a short run of PostgreSQL that writes records of nearly every type, in segments of 1 MiB, kept in a file. */
import { promises as fs, readFileSync } from 'node:fs';
import path from 'node:path';
import { initialControlState, parseControlFile, type ControlState } from '../../src/engine/control/index.js';
import { lsn, parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { openWalDirectory } from '../../src/engine/wal/segments.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import { encodeRecord, placeRecord, type RecordToWrite } from '../../src/engine/wal/writer.js';
import { startPlainPostgres, type PlainPostgres } from './plain-postgres.js';

export interface Corpus {
  /** The log's bytes from `startLsn`, a record boundary, up to the end of the last record. */
  readonly bytes: Buffer;
  readonly startLsn: Lsn;
  readonly segmentSize: number;
  readonly systemId: bigint;
  readonly records: readonly WalRecord[];
  /** As of the start. */
  readonly control: ControlState;
}

interface Stored {
  startLsn: number;
  control: string;
}

const SETTINGS = {
  wal_level: 'logical',
  max_prepared_transactions: '5',
  track_commit_timestamp: 'on',
  autovacuum: 'off',
  shared_buffers: '16MB',
  allow_in_place_tablespaces: 'on',
  wal_keep_size: '1GB',
};

const HEAP = [
  `CREATE TABLE acc (id int PRIMARY KEY, v text, n int) WITH (fillfactor = 80)`,
  `CREATE TABLE bt (k int, pad text)`,
  `CREATE INDEX bt_k ON bt (k)`,
  `INSERT INTO acc SELECT g, repeat('v', g % 90), 0 FROM generate_series(1, 900) g`,
  `UPDATE acc SET n = n + 1 WHERE id % 3 = 0`,
  `UPDATE acc SET v = v || 'longer than it was before' WHERE id % 5 = 0`,
  `DELETE FROM acc WHERE id % 7 = 0`,
  `SELECT * FROM acc WHERE id < 20 FOR UPDATE`,
  `VACUUM (FREEZE) acc`,
  `COPY acc TO '/dev/null'`,
  `INSERT INTO acc VALUES (5000, 'spec', 0) ON CONFLICT (id) DO UPDATE SET n = acc.n + 1`,
  `INSERT INTO acc VALUES (5000, 'spec', 0) ON CONFLICT (id) DO UPDATE SET n = acc.n + 1`,
  `INSERT INTO bt SELECT g % 20, 'x' FROM generate_series(1, 1500) g`,
  `INSERT INTO bt SELECT g, 'y' FROM generate_series(1, 2500) g`,
  `DELETE FROM bt WHERE k BETWEEN 30 AND 2200 OR (k < 20 AND ctid::text LIKE '%5)')`,
  `VACUUM bt`,
  `INSERT INTO bt SELECT g, 'z' FROM generate_series(1, 1500) g`,
  `VACUUM bt`,
  `CREATE TABLE big AS SELECT g AS id, string_agg(md5((g * i)::text), '') AS t FROM generate_series(1, 6) g, generate_series(1, 300) i GROUP BY g`,
  `CREATE SEQUENCE s`,
  `SELECT nextval('s') FROM generate_series(1, 40)`,
  `TRUNCATE big`,
  `CREATE TABLESPACE ts LOCATION ''`,
  `CREATE TABLE tst (id int) TABLESPACE ts`,
  `DROP TABLE tst`,
  `DROP TABLESPACE ts`,
  `SELECT pg_logical_emit_message(true, 'pre', 'hello'), pg_logical_emit_message(false, 'p2', repeat('m', 30000))`,
  `SELECT pg_replication_origin_create('o1')`,
  `SELECT pg_replication_origin_advance('o1', '0/123')`,
  `SELECT pg_replication_origin_drop('o1')`,
  `SELECT pg_create_restore_point('here')`,
  `BEGIN; ${Array.from({ length: 67 }, (_, i) => `SAVEPOINT s${i}; INSERT INTO acc VALUES (${6000 + i}, 's', 0)`).join(';\n')}; ROLLBACK TO s60; COMMIT`,
  `BEGIN; CREATE TABLE gone (id int); INSERT INTO gone VALUES (1); ROLLBACK`,
  `BEGIN; UPDATE acc SET n = 5 WHERE id = 5; PREPARE TRANSACTION 'to commit'`,
  `BEGIN; UPDATE acc SET n = 5 WHERE id = 6; PREPARE TRANSACTION 'to abort'`,
  `COMMIT PREPARED 'to commit'`,
  `ROLLBACK PREPARED 'to abort'`,
  `VACUUM FULL acc`,
  `SELECT pg_switch_wal()`,
];

const INDEXES = [
  `CREATE EXTENSION bloom`,
  `CREATE TABLE ix (id int, a int[], p point, r int4range, t text, d date)`,
  `CREATE INDEX ON ix USING gin (a) WITH (gin_pending_list_limit = 64)`,
  `CREATE INDEX ON ix USING gin (a) WITH (fastupdate = off)`,
  `CREATE INDEX ON ix USING gist (r)`,
  `CREATE INDEX ON ix USING spgist (p)`,
  `CREATE INDEX ON ix USING spgist (t)`,
  `CREATE INDEX ON ix USING hash (id)`,
  `CREATE INDEX ix_brin ON ix USING brin (d) WITH (pages_per_range = 1, autosummarize = off)`,
  `CREATE INDEX ON ix USING bloom (id)`,
  `INSERT INTO ix SELECT g, ARRAY[g % 9, g % 50, g], point(g % 71, g % 53), int4range(g, g + g % 40), 'text' || (g % 97), date '2020-01-01' + g / 10 FROM generate_series(1, 900) g`,
  `SELECT brin_summarize_new_values('ix_brin')`,
  `UPDATE ix SET d = d + 4000, a = a || 3 WHERE id % 4 = 0`,
  `DELETE FROM ix WHERE id % 3 = 0 OR id BETWEEN 200 AND 600`,
  `VACUUM ix`,
  `SELECT brin_desummarize_range('ix_brin', 0)`,
  `INSERT INTO ix SELECT g, ARRAY[g % 9], point(g, g), int4range(g, g + 4), 'again' || (g % 3), date '2024-01-01' FROM generate_series(1, 400) g`,
  `DELETE FROM ix WHERE id % 2 = 0`,
  `VACUUM ix`,
  `INSERT INTO ix SELECT g, ARRAY[g % 2], point(g, 1), int4range(g, g + 4), 'end', date '2024-01-01' FROM generate_series(1, 150) g`,
];

/** Images of the other kinds: packed, and for verification only. */
const IMAGES = [
  `SET wal_compression = pglz`,
  `CHECKPOINT`,
  `UPDATE acc SET n = n + 1 WHERE id % 40 = 1`,
  `SET wal_consistency_checking = 'all'`,
  `UPDATE acc SET v = 'checked' WHERE id % 50 = 1`,
  `INSERT INTO ix SELECT g, ARRAY[g], point(g, 2), int4range(g, g + 4), 'late', date '2025-01-01' FROM generate_series(1, 20) g`,
];

async function run(server: PlainPostgres, statements: readonly string[]): Promise<void> {
  const client = await server.client();
  for (const sql of statements) await client.query(sql);
  await client.end();
}

/** Row locks of two sessions at once make a multixact. */
async function multixact(server: PlainPostgres): Promise<void> {
  const [a, b] = await Promise.all([server.client(), server.client()]);
  await a.query(`BEGIN; SELECT * FROM acc WHERE id = 10 FOR KEY SHARE`);
  await b.query(`BEGIN; SELECT * FROM acc WHERE id = 10 FOR KEY SHARE; UPDATE acc SET n = 9 WHERE id = 10`);
  await Promise.all([a.query('COMMIT'), b.query('COMMIT')]);
  await Promise.all([a.end(), b.end()]);
}

/** Lets PostgreSQL write, then stores the log in `dir`. `extra` are contents of records that it does not write here. */
export async function recordCorpus(
  dir: string,
  extra: readonly Partial<RecordToWrite>[] = [],
): Promise<void> {
  const server = await startPlainPostgres({ settings: SETTINGS, initdbArgs: ['--wal-segsize=1'] });
  try {
    await server.sql('CHECKPOINT');
    const control = parseControlFile(await fs.readFile(path.join(server.dataDir, 'global', 'pg_control')));
    const startLsn = control.checkpoint.redo;
    await run(server, HEAP);
    await run(server, INDEXES);
    await multixact(server);
    await run(server, IMAGES);
    const [row] = await server.sql('SELECT pg_current_wal_insert_lsn()::text AS at');
    await server.stop();
    const log = await readLog(server.dataDir, startLsn, parseLsn(row!['at'] as string));
    const identity = {
      segmentSize: control.segmentSize,
      systemId: BigInt(control.systemIdentifier),
      timeline: 1,
    };
    const pieces = [log.bytes];
    let { endLsn, prevLsn } = log;
    for (const content of extra) {
      const raw = encodeRecord({
        rmid: 21,
        info: 0,
        xid: 7,
        mainData: Buffer.alloc(0),
        ...content,
        prevLsn,
      });
      const placed = placeRecord(raw, endLsn, identity);
      pieces.push(placed.bytes);
      prevLsn = placed.startLsn;
      endLsn = placed.endLsn;
    }
    await fs.mkdir(dir, { recursive: true });
    await fs.writeFile(path.join(dir, 'log'), Buffer.concat(pieces));
    const stored: Stored = { startLsn, control: control.image.toString('base64') };
    await fs.writeFile(path.join(dir, 'corpus.json'), JSON.stringify(stored));
  } finally {
    await server.destroy();
  }
}

/** Whole records from `begin` on, up to the first that ends beyond `end`. */
async function readLog(
  dataDir: string,
  begin: Lsn,
  end: Lsn,
): Promise<{ bytes: Buffer; endLsn: Lsn; prevLsn: Lsn }> {
  const directory = await openWalDirectory(dataDir);
  const { segmentSize } = directory;
  const pieces: Buffer[] = [];
  try {
    for (let at = begin; at < end; at = lsn(at + pieces.at(-1)!.length)) {
      pieces.push(await directory.read(at, end));
      if (pieces.at(-1)!.length === 0) throw new Error('the log ends early');
    }
  } finally {
    await directory.close();
  }
  const bytes = Buffer.concat(pieces);
  const decoder = new WalStreamDecoder({ startLsn: begin, segmentSize });
  decoder.push(bytes);
  while (decoder.next() !== null);
  const { position: endLsn, lastRecordLsn: prevLsn } = decoder;
  return { bytes: bytes.subarray(0, endLsn - begin), endLsn, prevLsn };
}

export function loadCorpus(dir: string): Corpus {
  const bytes = readFileSync(path.join(dir, 'log'));
  const stored = JSON.parse(readFileSync(path.join(dir, 'corpus.json'), 'utf8')) as Stored;
  const file = parseControlFile(Buffer.from(stored.control, 'base64'));
  const startLsn = lsn(stored.startLsn);
  const { segmentSize } = file;
  const systemId = BigInt(file.systemIdentifier);
  const decoder = new WalStreamDecoder({ startLsn, segmentSize, systemId });
  decoder.push(bytes);
  const records: WalRecord[] = [];
  for (let rec = decoder.next(); rec !== null; rec = decoder.next()) records.push(rec);
  if (decoder.position !== startLsn + bytes.length) throw new Error('the recorded log is not whole');
  return { bytes, startLsn, segmentSize, systemId, records, control: initialControlState(file, startLsn) };
}
