// Three storage nodes over real sockets and files, fed with WAL that PostgreSQL wrote: what a quorum acknowledged is on the nodes, survives
// kill -9 and damage, is cut for no one, and becomes exactly the pages that PostgreSQL itself has.
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { isDbError } from '../../src/engine/errors.js';
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import { encodeRecord, placeRecord } from '../../src/engine/wal/writer.js';
import { Rmgr } from '../../src/engine/wal/types.js';
import { parseControlFile } from '../../src/engine/control/index.js';
import type { StorageClient } from '../../src/net/storage-client.js';
import { compareWithFiles } from '../helpers/redo-files.js';
import { MiniWriter, TestVolume, spawnNode } from './volume.js';

const WORKLOAD = [
  `CREATE TABLE account (id int PRIMARY KEY, name text, balance numeric);
   INSERT INTO account SELECT i, md5(i::text), i FROM generate_series(1, 20000) i;
   CREATE INDEX ON account (name);
   UPDATE account SET balance = balance + 1 WHERE id % 7 = 0;
   DELETE FROM account WHERE id % 11 = 0`,
  'VACUUM account',
  `CREATE SEQUENCE s; SELECT nextval('s');
   CREATE TABLE big (id int, payload text STORAGE EXTERNAL);
   INSERT INTO big SELECT i, repeat(md5(i::text), 500) FROM generate_series(1, 50) i;
   UPDATE account SET name = 'x' || name WHERE id < 3000`,
];

const code = (expected: string) => (err: unknown) => isDbError(err, expected);

describe('storage: three nodes', function () {
  this.timeout(240_000);
  let volume: TestVolume;
  let writer: MiniWriter;
  let tool: StorageClient;
  const clients: Record<string, StorageClient> = {};

  before(async () => {
    volume = await TestVolume.create(['n1', 'n2', 'n3'], WORKLOAD);
    await Promise.all([volume.start('n1'), volume.start('n2'), volume.spawn('n3')]);
    for (const { id } of volume.nodes) clients[id] = await volume.client(id);
    tool = clients['n1']!;
  });
  after(async () => {
    await volume?.destroy();
  });

  /** The record end nearest to a fraction of the recorded WAL. */
  function at(fraction: number): Lsn {
    const { recordEnds, importLsn, wal } = volume.recording;
    return recordEnds.findLast((end) => end <= importLsn + wal.length * fraction)!;
  }

  async function samePages(client: StorageClient): Promise<void> {
    const { end, files, relations } = volume.recording;
    const ours = await volume.pagesOf(client, end);
    const { pages, vmPages, differences } = compareWithFiles(ours, files, relations, new Map(), []);
    assert.deepEqual(differences, []);
    assert.ok(pages > 1000 && vmPages > 0, `${pages} pages, ${vmPages} map pages compared`);
  }

  async function logFiles(): Promise<string[]> {
    const folder = path.join(volume.node('n3').dir, 'log');
    return (await fs.readdir(folder)).sort().map((name) => path.join(folder, name));
  }

  /** Flips a bit of n3's log, `offset` bytes into the recorded WAL. Returns the file. */
  async function flipBit(offset: number): Promise<string> {
    const { wal } = volume.recording;
    for (const file of await logFiles()) {
      const where = (await fs.readFile(file)).indexOf(wal.subarray(offset, offset + 64));
      if (where < 0) continue;
      const handle = await fs.open(file, 'r+');
      await handle.write(Buffer.from([wal[offset + 5]! ^ 0x10]), 0, 1, where + 5);
      await handle.close();
      return file;
    }
    throw new Error('n3 does not hold these bytes in one frame');
  }

  it('start where the import ended: voters, nothing promised, pages readable', async () => {
    const { importLsn } = volume.recording;
    for (const client of Object.values(clients)) {
      const status = await client.status();
      assert.deepEqual(
        [status.voter, status.promisedEpoch, status.scl, status.commitLsn, status.appliedLsn],
        [true, 0, importLsn, importLsn, importLsn],
      );
    }
    const { relations, slrus } = await tool.manifest({ lsn: importLsn });
    assert.ok(relations.length > 200 && slrus.some(({ slru }) => slru === 'xact'));
    assert.deepEqual((await tool.logTail()).recordEnd, importLsn);
  });

  it('elect a writer, acknowledge at a quorum, learn what is committed', async () => {
    writer = new MiniWriter(volume, 1, 'first');
    for (const { id } of volume.nodes) await writer.join(id);
    assert.equal(writer.core.phase, 'elected');
    assert.equal(await writer.lead(), volume.recording.importLsn);
    for (const fraction of [0.1, 0.2, 0.3]) writer.write(at(fraction));
    await writer.committed(at(0.3));
    for (const client of Object.values(clients))
      assert.equal(await client.waitApplied({ lsn: at(0.3), timeoutMs: 150_000 }), at(0.3));
  });

  it('go on without a node that was killed (kill -9)', async () => {
    await volume.kill('n3', 'SIGKILL');
    writer.write(at(0.6));
    await writer.committed(at(0.6));
    writer.write(volume.recording.end);
    await writer.committed(volume.recording.end);
    await tool.waitApplied({ lsn: volume.recording.end, timeoutMs: 150_000 });
  });

  it('serve exactly the pages that PostgreSQL has', () => samePages(tool));

  it('tell the control state at any record end, and that of the end as pg_control has it', async () => {
    const { end, lastRecordLsn, recordEnds } = volume.recording;
    const state = await tool.controlState({ lsn: end });
    assert.deepEqual([state.lastRecordEnd, state.lastRecordLsn], [end, lastRecordLsn]);
    const earlier = await tool.controlState({ lsn: recordEnds[500]! });
    assert.equal(earlier.lastRecordEnd, recordEnds[500]!);
    await assert.rejects(tool.controlState({ lsn: lsn(recordEnds[500]! - 8) }), code('USAGE_NOT_RECORD_END'));
    const image = parseControlFile(Buffer.from(state.controlImage, 'base64'));
    assert.equal(state.systemIdentifier, image.systemIdentifier);
    assert.deepEqual(await tool.logTail(), { recordStart: lastRecordLsn, recordEnd: end, logEnd: end });
  });

  it('catch up a restarted node from its peers, with no writer alive, and serve the same pages from it', async () => {
    writer.close();
    await volume.start('n3'); // in this process from here on
    clients['n3'] = await volume.client('n3');
    await volume.until(clients['n3'], 'catch-up', (status) => status.appliedLsn === volume.recording.end);
    const status = await clients['n3'].status();
    assert.ok(status.metrics['catchUpBytes']! > 1_000_000 && status.voter && status.generation === 2);
    await samePages(clients['n3']);
    const log = async (client: StorageClient): Promise<Buffer> =>
      (await client.readLog({ begin: volume.recording.importLsn, end: volume.recording.end })).bytes;
    const [ours, theirs] = [await log(clients['n3']), await log(tool)];
    assert.ok(ours.equals(theirs) && ours.equals(volume.recording.wal.subarray(0, ours.length)));
  });

  it('fence an old writer: after a new one began, nothing of the old is acknowledged', async () => {
    const old = new MiniWriter(volume, 2, 'old');
    for (const { id } of volume.nodes) await old.join(id);
    const start = await old.lead();
    await old.committed(start);
    const fresh = new MiniWriter(volume, 3, 'new');
    for (const id of ['n1', 'n2']) await fresh.join(id);
    assert.equal(fresh.core.phase, 'elected');
    // n3 has not heard of epoch 3 and still takes the old writer's bytes: one node, no quorum.
    const extended = Buffer.concat([volume.recording.wal, Buffer.alloc(64)]);
    old.write(lsn(start + 64), extended);
    await old.when(() => old.core.phase === 'fenced');
    assert.equal(old.core.commitLsn, start);
    await assert.rejects(old.clients.get('n1')!.logTail(undefined, 2), code('EPOCH_STALE'));
    await assert.rejects(
      old.clients.get('n1')!.readLog({ begin: start, end: start, epoch: 2 }),
      code('EPOCH_STALE'),
    );
    assert.equal(await fresh.lead(), start);
    await fresh.committed(start);
    await fresh.join('n3');
    await volume.until(clients['n3']!, 'n3 in epoch 3', (s) => s.history.at(-1)!.epoch === 3);
    const statuses = await Promise.all(Object.values(clients).map((client) => client.status()));
    for (const { scl, history, promisedEpoch } of statuses)
      assert.deepEqual([scl, history.at(-1), promisedEpoch], [start, { epoch: 3, startLsn: start }, 3]);
    old.close();
    fresh.close();
  });

  it('relay an epoch to a node that missed its beginning', async () => {
    await volume.stop('n3');
    const fourth = new MiniWriter(volume, 4, 'fourth');
    for (const id of ['n1', 'n2']) await fourth.join(id);
    await fourth.lead();
    await fourth.when(() => fourth.core.commitLsn > 0);
    fourth.close();
    await volume.start('n3');
    clients['n3'] = await volume.client('n3');
    await volume.until(
      clients['n3'],
      'epoch 4',
      (s) => s.history.at(-1)!.epoch === 4 && s.promisedWriter === 'fourth',
    );
  });

  it('cut off a torn tail and find a flipped bit at start, say where, heal from a peer, and vote again', async () => {
    await volume.stop('n3');
    const { importLsn, wal } = volume.recording;
    const inWal = Math.floor(wal.length / 3);
    const file = await flipBit(inWal);
    // A frame that was being written: its header, and nothing behind it.
    const last = (await logFiles()).at(-1)!;
    const bytes = await fs.readFile(last);
    await fs.appendFile(last, bytes.subarray(1024, 1024 + 32));

    // Without its peers' help first: it knows, and neither serves the bytes nor votes.
    await volume.start('n3', { peers: [] });
    let client = await volume.client('n3', 'compute');
    let status = await client.status();
    assert.deepEqual([status.voter, status.learnerReason, status.damaged.length], [false, 'damaged-log', 1]);
    const { begin, end, file: named } = status.damaged[0]!;
    assert.ok(begin <= importLsn + inWal && importLsn + inWal < end && named.includes(path.basename(file)));
    await assert.rejects(client.readLog({ begin, end }), code('LOG_DAMAGED'));
    assert.equal((await client.promise({ epoch: 50, writerId: 'x' })).granted, false);
    await volume.stop('n3');

    await volume.start('n3');
    client = await volume.client('n3');
    await volume.until(client, 'healed', (s) => s.voter && s.damaged.length === 0);
    const healed = await client.readLog({ begin: importLsn, end: lsn(importLsn + wal.length) });
    assert.ok(healed.bytes.equals(wal.subarray(0, healed.bytes.length)) && healed.bytes.length > inWal + 64);
    status = await client.status();
    assert.equal(status.scl, volume.recording.end);
  });

  it('find a bit that flips while running by its scrub, and heal it', async () => {
    await volume.stop('n3');
    await volume.start('n3', { scrub: { intervalMs: 200 } });
    const client = await volume.client('n3');
    await flipBit(70_000);
    await volume.until(client, 'healed', (s) => s.metrics['healedBytes']! > 0 && s.voter && s.damaged.length === 0); // prettier-ignore
  });

  it('be a learner without its identity, log or pages, also after another restart', async () => {
    await volume.stop('n3');
    const { dir } = volume.node('n3');
    await fs.rename(path.join(dir, 'identity.db'), path.join(dir, 'identity.kept'));
    for (const round of ['missing', 'still']) {
      await volume.start('n3');
      const client = await volume.client('n3', 'compute');
      const status = await client.status();
      assert.deepEqual([round, status.voter, status.learnerReason], [round, false, 'amnesia']);
      assert.equal((await client.promise({ epoch: 60, writerId: 'x' })).granted, false);
      await volume.stop('n3');
    }
    await fs.rename(path.join(dir, 'identity.kept'), path.join(dir, 'identity.db'));
    for (const part of ['log', 'pages']) {
      await fs.rename(path.join(dir, part), path.join(dir, `${part}.kept`));
      await fs.copyFile(path.join(dir, 'identity.db'), path.join(dir, 'identity.kept'));
      await volume.start('n3', { peers: [] });
      const client = await volume.client('n3', 'compute');
      assert.deepEqual([part, (await client.status()).learnerReason], [part, 'amnesia']);
      if (part === 'log') {
        const history = [{ epoch: 61, startLsn: volume.recording.end }];
        const start = client.startEpoch({ epoch: 61, writerId: 'x', handshake: 1, history });
        await assert.rejects(start, code('NODE_LOST_LOG'));
      }
      await volume.stop('n3');
      await fs.rm(path.join(dir, part), { recursive: true });
      await fs.rename(path.join(dir, `${part}.kept`), path.join(dir, part));
      await fs.rename(path.join(dir, 'identity.kept'), path.join(dir, 'identity.db'));
    }
    await volume.start('n3');
    assert.equal((await (await volume.client('n3')).status()).voter, true);
  });

  it('let only a compute write, and only with a known branch and size', async () => {
    await assert.rejects(tool.promise({ epoch: 99, writerId: 'tool' }), code('NET_PROTOCOL'));
    await assert.rejects(tool.getPages({ spcOid: 1, dbOid: 1, relNumber: 1, fork: 0, blkno: 0, count: 3000, lsn: volume.recording.end }), code('USAGE_PAGE_COUNT')); // prettier-ignore
    await assert.rejects(tool.getPages({ spcOid: 1, dbOid: 1, relNumber: 1, fork: 0, blkno: 0xffff_ffff, count: 2, lsn: volume.recording.end }), code('USAGE_PAGE_COUNT')); // prettier-ignore
    await assert.rejects(tool.getSlruPages({ slru: 'xact', pageno: 0xffff_ffff, count: 2, lsn: volume.recording.end }), code('USAGE_PAGE_COUNT')); // prettier-ignore
    await assert.rejects(tool.getPages({ spcOid: 1, dbOid: 1, relNumber: 1, fork: 0, blkno: 0, count: 1, lsn: volume.recording.end }), code('PAGE_NO_RELATION')); // prettier-ignore
    await assert.rejects(tool.waitApplied({ lsn: lsn(volume.recording.end + 8), timeoutMs: 50 }), code('NODE_BEHIND')); // prettier-ignore
  });

  it('stop ingest at a record that it cannot replay, say so, and still take log', async () => {
    const { end, wal, lastRecordLsn, systemId } = volume.recording;
    const last = new MiniWriter(volume, 5, 'last');
    for (const { id } of volume.nodes) await last.join(id);
    assert.equal(await last.lead(), end);
    const raw = encodeRecord({ rmid: Rmgr.Standby, info: 0xf0, xid: 0, prevLsn: lastRecordLsn, mainData: Buffer.alloc(8) }); // prettier-ignore
    const placed = placeRecord(raw, end, { segmentSize: 16 * 1024 * 1024, systemId, timeline: 1 });
    last.write(placed.endLsn, Buffer.concat([wal, placed.bytes]));
    await last.committed(placed.endLsn);
    await volume.until(tool, 'ingest stops', (status) => status.ingestError !== null);
    const status = await tool.status();
    assert.equal(status.ingestError!.lsn, placed.startLsn);
    assert.deepEqual([status.scl, status.appliedLsn, status.voter], [placed.endLsn, end, true]);
    await assert.rejects(tool.manifest({ lsn: placed.endLsn }), code('INGEST_STOPPED'));
    assert.equal((await tool.manifest({ lsn: end })).lsn, end);
    last.close();
  });

  it('publish metrics and health over HTTP', async () => {
    const { host, port } = volume.node('n1').endpoint;
    const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
    const value = (name: string): number => Number(new RegExp(`^aurora_storage_${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]); // prettier-ignore
    assert.equal(value('applied_lsn_bytes'), volume.recording.end);
    assert.ok(value('log_syncs_total') > 3 && value('pages_served_total') > 1000);
    assert.equal(value('ingest_stopped'), 1);
    assert.equal((await fetch(`http://${host}:${port}/healthz`)).status, 200);
  });

  it('end its process with a documented code: 0 on SIGTERM, 1 on a used port, 2 on a bad configuration', async () => {
    const { dir } = volume.node('n3');
    await volume.stop('n3');
    const run = async (file: string): Promise<[number | null, string]> => {
      const child = spawnNode(file, 'pipe');
      let said = '';
      child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
      return new Promise((resolve) => child.once('close', (exit) => resolve([exit, said])));
    };
    const file = path.join(volume.root, 'taken.json');
    await fs.writeFile(
      file,
      JSON.stringify({ ...volume.config('n3'), port: volume.node('n1').endpoint.port }),
    );
    const bad = path.join(volume.root, 'bad.json');
    await fs.writeFile(bad, JSON.stringify({ ...volume.config('n3'), quorum: { write: 1 } }));
    const [used, wrong] = await Promise.all([run(file), run(bad)]);
    assert.equal(used[0], 1);
    assert.match(used[1], /^storage node: port \d+ on 127.0.0.1 is already in use\. .*\n$/);
    assert.equal(wrong[0], 2);
    assert.match(wrong[1], /^storage node: storage node configuration: "quorum" must be .*\n$/);
    await volume.spawn('n3');
    assert.equal(await volume.kill('n3', 'SIGTERM'), 0);
    await assert.rejects(fs.access(path.join(dir, 'node.pid')));
  });
});
