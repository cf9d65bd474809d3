/** What makes PostgreSQL write records that no SQL can: restarts with other settings, crashes at a chosen place in the log, promotion. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { giveTo } from '../../src/compute/postgres.js';
import { formatLsn, parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { XLOG_BLCKSZ } from '../../src/engine/page/constants.js';
import { WalReader } from '../../src/engine/wal/reader.js';
import { openWalDirectory } from '../../src/engine/wal/segments.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import type { PlainPostgres } from './plain-postgres.js';

/**
 * Keeps pages that are changed after a checkpoint out of the files, so that a crash may also lose the end of the log; and lets recovery pass
 * in-place tablespaces.
 */
export const CRASH_SETTINGS = {
  bgwriter_lru_maxpages: '0',
  checkpoint_timeout: '1h',
  allow_in_place_tablespaces: 'on',
};

export async function insertLsn(server: PlainPostgres): Promise<Lsn> {
  const [row] = await server.sql('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  return parseLsn(row!['lsn'] as string);
}

/** Restarts with settings that pg_control and a PARAMETER_CHANGE record carry, then with the old ones. */
export async function changeParameters(server: PlainPostgres): Promise<void> {
  const settings = ['max_connections = 120', 'max_worker_processes = 9', 'max_locks_per_transaction = 70'];
  for (const setting of settings) await server.sql(`ALTER SYSTEM SET ${setting}`);
  await server.stop();
  await server.start();
  await server.sql('ALTER SYSTEM RESET ALL');
  await server.stop();
  await server.start();
}

/**
 * Crashes the server and cuts its log off behind the first record from `from` on that `isLast` accepts, as if no more had reached the disk.
 * Then starts it again. Needs CRASH_SETTINGS, and no checkpoint since `from`.
 */
export async function crashBehind(
  server: PlainPostgres,
  from: Lsn,
  isLast: (rec: WalRecord) => boolean,
): Promise<void> {
  await server.sql("SELECT pg_logical_emit_message(false, 'flush', 'all before it, too', true)");
  await server.stop('immediate');
  const rec = await findRecord(server.dataDir, from, isLast);
  await cutLog(server.dataDir, rec.endLsn);
  await server.start();
}

/** Crashes the server with only a part of its last record on disk. Recovery ends there and writes OVERWRITE_CONTRECORD first. */
export async function crashWithinRecord(server: PlainPostgres): Promise<void> {
  const from = await insertLsn(server);
  await server.sql(
    "SELECT pg_logical_emit_message(false, 'torn', repeat('too long for two pages', 2000), true)",
  );
  await server.stop('immediate');
  const rec = await findRecord(server.dataDir, from, ({ raw }) => raw.length > 2 * XLOG_BLCKSZ);
  await cutLog(server.dataDir, (Math.floor(rec.startLsn / XLOG_BLCKSZ) * XLOG_BLCKSZ + XLOG_BLCKSZ) as Lsn);
  await server.start();
}

/** Makes the server a standby of nobody, then promotes it: the log goes on in a new timeline, with an END_OF_RECOVERY record. */
export async function promote(server: PlainPostgres): Promise<void> {
  await server.stop();
  const signal = path.join(server.dataDir, 'standby.signal');
  await fs.writeFile(signal, '');
  await giveTo(server.install, signal);
  const writable = server.start();
  const failed = new AbortController();
  writable.catch((err: unknown) => failed.abort(err));
  const client = await firstClient(server, failed.signal);
  await client.query('SELECT pg_promote()');
  await client.end();
  await writable;
  await server.sql('CHECKPOINT');
}

const CONNECT_MS = 20_000;

/** A session of a server that is still starting. Throws the signal's reason. */
async function firstClient(server: PlainPostgres, failed: AbortSignal): Promise<pg.Client> {
  const deadline = Date.now() + CONNECT_MS;
  for (;;) {
    failed.throwIfAborted();
    try {
      return await server.client();
    } catch (err) {
      if (Date.now() > deadline) throw err;
      await sleep(10);
    }
  }
}

async function findRecord(
  dataDir: string,
  from: Lsn,
  wanted: (rec: WalRecord) => boolean,
): Promise<WalRecord> {
  const wal = await openWalDirectory(dataDir);
  try {
    for await (const rec of new WalReader(wal, { start: from }).records()) if (wanted(rec)) return rec;
  } finally {
    await wal.close();
  }
  throw new Error(`no such record in the log from ${formatLsn(from)} on`);
}

/** Overwrites the log from `at` on with zeros. */
async function cutLog(dataDir: string, at: Lsn): Promise<void> {
  const wal = await openWalDirectory(dataDir);
  const { segmentSize } = wal;
  const last = wal.fileOf(at);
  await wal.close();
  if (last === null) throw new Error(`no segment holds ${formatLsn(at)}`);
  const folder = path.join(dataDir, 'pg_wal');
  for (const name of await fs.readdir(folder))
    if (/^[0-9A-F]{24}$/.test(name) && name > last) await fs.rm(path.join(folder, name));
  const handle = await fs.open(path.join(folder, last), 'r+');
  try {
    const offset = at % segmentSize;
    await handle.write(Buffer.alloc(segmentSize - offset), 0, segmentSize - offset, offset);
  } finally {
    await handle.close();
  }
}
