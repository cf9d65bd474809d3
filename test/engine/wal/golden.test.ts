/**
 * Against the original: a real PostgreSQL writes WAL of every kind; what we read from its pg_wal must equal what pg_walinspect
 * says about the same records, field by field and word by word, and every page image must restore to the same 8192 bytes.
 */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import path from 'node:path';
import type pg from 'pg';
import { formatLsn, lsn, parseLsn, type Lsn } from '../../../src/engine/lsn.js';
import {
  describeRecord,
  imageBytes,
  recordTypeName,
  RMGR_RECORD_TYPES,
} from '../../../src/engine/wal/describe.js';
import { restoreImage } from '../../../src/engine/wal/image.js';
import { WalReader, type WalEnd } from '../../../src/engine/wal/reader.js';
import { openWalDirectory, segmentFileName } from '../../../src/engine/wal/segments.js';
import { WalStats } from '../../../src/engine/wal/stats.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { encodeLogicalMessage } from '../../../src/engine/wal/writer.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { buildLog } from './log-builder.js';
import { RARE_RECORDS } from './rare-records.js';
import { runWorkload, WORKLOAD_SETTINGS } from './workload.js';

/** One row of pg_get_wal_records_info, numbers as text. */
type InfoRow = Record<string, string | null>;

const INFO_SQL = `SELECT start_lsn::text, end_lsn::text, prev_lsn::text, xid::text, resource_manager, record_type,
  record_length::text, main_data_length::text, fpi_length::text, coalesce(description, '') AS description,
  coalesce(block_ref, '') AS block_ref FROM pg_get_wal_records_info($1, $2)`;

function infoRow(rec: WalRecord): InfoRow {
  const d = describeRecord(rec);
  return {
    start_lsn: formatLsn(rec.startLsn),
    end_lsn: formatLsn(rec.endLsn),
    prev_lsn: formatLsn(rec.prevLsn),
    xid: String(rec.xid),
    resource_manager: d.rmgr,
    record_type: d.name,
    record_length: String(rec.raw.length),
    main_data_length: String(rec.mainData.length),
    fpi_length: String(imageBytes(rec)),
    description: d.desc,
    block_ref: d.blockRefs,
  };
}

describe('WAL of a real PostgreSQL', function () {
  this.timeout(60_000);
  let server: PlainPostgres;
  let client: pg.Client;
  let compressions: string[];
  let startLsn: Lsn;
  let endLsn: Lsn;
  let records: WalRecord[];
  let end: WalEnd;

  before(async () => {
    // 1 MiB segments: many segment boundaries, and records that cross them.
    server = await startPlainPostgres({ settings: WORKLOAD_SETTINGS, initdbArgs: ['--wal-segsize=1'] });
    client = await server.client();
    await client.query('CREATE EXTENSION pg_walinspect');
    const { rows } = await client.query<{ enumvals: string[]; lsn: string }>(
      `SELECT enumvals::text[], pg_current_wal_insert_lsn()::text AS lsn FROM pg_settings WHERE name = 'wal_compression'`,
    );
    compressions = rows[0]!.enumvals.filter((v) => v === 'pglz' || v === 'lz4' || v === 'zstd');
    await client.query(`ALTER SYSTEM SET wal_keep_size = '1GB'`);
    await client.query('SELECT pg_reload_conf()');
    startLsn = parseLsn(rows[0]!.lsn);
    await runWorkload(server, compressions);
    const current = await client.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn');
    endLsn = parseLsn(current.rows[0]!.lsn);

    const source = await openWalDirectory(server.dataDir);
    const reader = new WalReader(source, { start: startLsn, end: endLsn });
    records = [];
    for await (const batch of reader.batches()) records.push(...batch);
    await source.close();
    assert.ok(reader.end);
    end = reader.end;
  });

  after(async () => {
    await server?.destroy();
  });

  it('reads every record up to the flush position', () => {
    assert.equal(end.kind, 'limit', end.reason);
    assert.equal(formatLsn(records.at(-1)!.endLsn), formatLsn(endLsn));
    assert.ok(records.length > 20_000, `only ${records.length} records`);
  });

  it('agrees with pg_get_wal_records_info on every column of every record', async () => {
    const { rows } = await client.query<InfoRow>(INFO_SQL, [formatLsn(startLsn), formatLsn(endLsn)]);
    const different: { postgres: InfoRow | undefined; ours: InfoRow | undefined }[] = [];
    for (let i = 0; i < Math.max(rows.length, records.length); i++) {
      const ours = i < records.length ? infoRow(records[i]!) : undefined;
      const theirs = rows[i];
      const same = ours && theirs && Object.keys(ours).every((key) => ours[key] === theirs[key]);
      if (!same && different.length < 5) different.push({ postgres: theirs, ours });
    }
    assert.deepEqual(different, []);
  });

  it('restores every page image to the bytes that pg_get_wal_block_info shows', async () => {
    const { rows } = await client.query<{
      start_lsn: string;
      block_id: number;
      page: Buffer;
      info: string[];
    }>(
      `SELECT start_lsn::text, block_id, block_fpi_data AS page, block_fpi_info AS info
         FROM pg_get_wal_block_info($1, $2, true) WHERE block_fpi_data IS NOT NULL`,
      [formatLsn(startLsn), formatLsn(endLsn)],
    );
    const byLsn = new Map(records.map((rec) => [formatLsn(rec.startLsn), rec]));
    const methods = new Set<string>();
    const page = Buffer.alloc(8192, 0xee);
    for (const row of rows) {
      const rec = byLsn.get(row.start_lsn)!;
      const block = rec.blocks.find((b) => b.id === row.block_id)!;
      assert.ok(restoreImage(block, rec.startLsn, page).equals(row.page), `image of ${row.start_lsn}`);
      for (const word of row.info) methods.add(word);
    }
    for (const method of compressions) assert.ok(methods.has(`COMPRESS_${method.toUpperCase()}`), method);
    assert.ok(methods.has('HAS_HOLE') && methods.has('APPLY'));
    assert.ok(
      records.some((rec) => rec.blocks.some((b) => b.hasImage && !b.applyImage)),
      'consistency images',
    );
  });

  it('meets most record types, and counts them as pg_get_wal_stats does', async () => {
    const stats = new WalStats();
    for (const rec of records) stats.add(rec);
    const { rows } = await client.query<Record<string, string>>(
      `SELECT "resource_manager/record_type" AS type, count::text, record_size::text, fpi_size::text
         FROM pg_get_wal_stats($1, $2, true) WHERE count > 0`,
      [formatLsn(startLsn), formatLsn(endLsn)],
    );
    const ours = stats
      .byRecordType()
      .map((row) => ({
        type: `${row.rmgr}/${row.type}`,
        count: String(row.count),
        record_size: String(row.recordBytes),
        fpi_size: String(row.fpiBytes),
      }))
      .sort((a, b) => (a.type < b.type ? -1 : 1));
    assert.deepEqual(
      ours,
      rows.sort((a, b) => (a.type! < b.type! ? -1 : 1)),
    );
    const known = new Set(RMGR_RECORD_TYPES.flatMap((r) => r.types.map((t) => `${r.name}/${t}`)));
    assert.deepEqual(
      ours.filter((row) => !known.has(row.type)),
      [],
    );
    assert.ok(ours.length >= 80, `only ${ours.length} record types:\n${ours.map((r) => r.type).join('\n')}`);
  });

  it('writes records that PostgreSQL reads, and describes the rare ones as it does', async () => {
    // Old segments of the running server, which nothing reads any more, get our records: from the last pages of one to the next.
    const size = 1024 * 1024;
    const segment = Math.ceil(startLsn / size) + 1;
    const at = lsn((segment + 1) * size - 3 * 8192);
    const { rows: system } = await client.query<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    const identity = { segmentSize: size, systemId: BigInt(system[0]!.id), timeline: 1 };
    const long = { mainData: encodeLogicalMessage({ prefix: 'long', content: Buffer.alloc(30_000, 0xab) }) };
    const closing = { rmid: 0, info: 0x20 };
    const contents = [...RARE_RECORDS.slice(0, 20), long, ...RARE_RECORDS, closing, closing];
    const log = buildLog(at, contents, identity);
    for (const [index, from, to] of [
      [segment, 0, 3 * 8192],
      [segment + 1, 3 * 8192, log.bytes.length],
    ] as const) {
      const file = await open(path.join(server.dataDir, 'pg_wal', segmentFileName(1, index, size)), 'r+');
      await file.write(log.bytes, from, to - from, (at + from) % size);
      await file.close();
    }
    // PostgreSQL looks one record beyond the end that it is asked for.
    const last = log.records.at(-2)!.endLsn;
    const { rows } = await client.query<InfoRow>(INFO_SQL, [formatLsn(at), formatLsn(last)]);

    const decoder = new WalStreamDecoder({ startLsn: at, segmentSize: size, systemId: identity.systemId });
    decoder.push(log.bytes);
    const ours: InfoRow[] = [];
    for (let rec = decoder.next(); rec !== null; rec = decoder.next()) ours.push(infoRow(rec));
    assert.equal(ours.length, contents.length);
    assert.deepEqual(ours.slice(0, -1), rows);

    const met = new Set(
      [...records, ...RARE_RECORDS].map((r) => `${r.rmid}/${recordTypeName(r.rmid, r.info)}`),
    );
    const unmet = RMGR_RECORD_TYPES.flatMap((r) => r.types.map((t) => `${r.rmid}/${t}`)).filter(
      (t) => !met.has(t),
    );
    assert.deepEqual(unmet, [], 'record types whose text was not compared with the original');
  });
});
