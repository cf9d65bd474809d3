// A storage node that lost its disk, or a part of it, or fell behind what its peers keep: it is rebuilt from them, whatever is killed meanwhile,
// serves exactly the pages that PostgreSQL has, and votes again, but not before it holds all that it may have acknowledged.
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDbError } from '../../src/engine/errors.js';
import type { Lsn } from '../../src/engine/lsn.js';
import type { StorageClient } from '../../src/net/storage-client.js';
import { compareWithFiles } from '../helpers/redo-files.js';
import type { StorageConfigInput } from '../../src/storage/config.js';
import { Identity } from '../../src/storage/identity.js';
import { MiniWriter, TestVolume } from './volume.js';

const WORKLOAD = [
  `CREATE TABLE account (id int PRIMARY KEY, name text, balance numeric);
   INSERT INTO account SELECT i, md5(i::text), i FROM generate_series(1, 20000) i;
   CREATE INDEX ON account (name);
   UPDATE account SET balance = balance + 1 WHERE id % 7 = 0`,
  'VACUUM account',
  'CREATE DATABASE other',
  `CREATE SEQUENCE s; SELECT nextval('s')`,
  `DELETE FROM account WHERE id % 11 = 0;
   UPDATE account SET name = 'x' || name WHERE id < 3000`,
  'SELECT pg_switch_wal()',
  `UPDATE account SET name = 'y' || name WHERE id < 2000`,
];
const WAL_SEGMENT = 16 * 1024 * 1024;
/** Forgets history as fast as it can. */
const FORGETFUL: Partial<StorageConfigInput> = {
  retention: { timeMs: 1, bytes: 1, leaseMs: 100, peerMs: 1 },
  vacuum: { enabled: true, intervalMs: 50, sliceMs: 20, dutyPercent: 100, passBytes: 1, passMs: 50 },
  logFileBytes: 200_000,
};

const code = (expected: string) => (err: unknown) => isDbError(err, expected);

describe('storage: rebuild', function () {
  this.timeout(300_000);
  let volume: TestVolume;
  let writer: MiniWriter;

  before(async () => {
    volume = await TestVolume.create(['n1', 'n2', 'n3'], WORKLOAD);
    await Promise.all([volume.spawn('n1'), volume.spawn('n2'), volume.spawn('n3')]);
    writer = new MiniWriter(volume, 1, 'first');
    for (const { id } of volume.nodes) await writer.join(id);
    await writer.lead();
    writer.write(at(0.5));
    await writer.committed(at(0.5));
  });
  after(async () => {
    writer?.close();
    await volume?.destroy();
  });

  /** Where the log goes on in the next WAL segment: index of the last record before. */
  function lastSwitch(): number {
    const { recordEnds } = volume.recording;
    const segment = (end: Lsn | undefined) => Math.floor((end ?? 0) / WAL_SEGMENT);
    return recordEnds.findLastIndex((end, i) => segment(recordEnds[i + 1]) > segment(end));
  }

  /** A record end: 0 the first one, 1 the last one before the switch to the next WAL segment. */
  function at(fraction: number): Lsn {
    return volume.recording.recordEnds[Math.floor(lastSwitch() * fraction)]!;
  }

  async function lose(id: string, ...parts: string[]): Promise<void> {
    if (volume.node(id).process) await volume.kill(id, 'SIGKILL');
    const { dir } = volume.node(id);
    for (const name of await fs.readdir(dir))
      if (parts.length === 0 || parts.includes(name)) await fs.rm(path.join(dir, name), { recursive: true });
  }

  /** One bit of the largest table file, at that share of it. */
  async function flip(dir: string, share: number): Promise<void> {
    const files = (await fs.readdir(dir)).filter((name) => name.endsWith('.sst'));
    const sized = await Promise.all(
      files.map(async (name) => ({ name, size: (await fs.stat(path.join(dir, name))).size })),
    );
    const { name, size } = sized.sort((a, b) => b.size - a.size)[0]!;
    const file = await fs.open(path.join(dir, name), 'r+');
    const byte = Buffer.alloc(1);
    const offset = Math.floor(size * share);
    await file.read(byte, 0, 1, offset);
    byte[0]! ^= 0x20;
    await file.write(byte, 0, 1, offset);
    await file.close();
  }

  /** As a compute's heartbeat: a node that does not start the epoch, or not any more, is asked again. */
  async function join(id: string): Promise<void> {
    for (let tries = 0; ; tries++)
      try {
        await writer.join(id);
        return;
      } catch (err) {
        if (!isDbError(err, 'NODE_LOST_LOG') || tries === 600) throw err;
        await sleep(100);
      }
  }

  async function votes(id: string): Promise<StorageClient> {
    const client = await volume.client(id);
    for (let tries = 0; !(await client.status()).voter; tries++) {
      if (tries === 600) throw new Error(`still a learner: ${JSON.stringify(await client.status())}`);
      // A node that had not registered its new life yet when it started the epoch is heard in an answer to this; a busy machine may have cost
      // the writer a connection, too.
      writer.heartbeat();
      for (const node of volume.nodes)
        if (node.process && (!writer.clients.has(node.id) || !writer.core.progress(node.id).started))
          await join(node.id);
      await sleep(100);
    }
    return client;
  }

  /** Everything that a compute can ask for as of `lsn` is the same on both nodes. */
  async function same(ours: StorageClient, theirs: StorageClient, lsn: Lsn): Promise<void> {
    const [a, b] = await Promise.all([ours.manifest({ lsn }), theirs.manifest({ lsn })]);
    assert.ok(a.relations.length > 400 && a.databases.length > 2);
    assert.deepEqual(a, b);
    assert.deepEqual(await ours.controlState({ lsn }), await theirs.controlState({ lsn }));
    let pages = 0;
    for (const rel of a.relations)
      for (let blkno = 0; blkno < rel.nblocks; blkno += 200) {
        const run = { ...rel, blkno, count: Math.min(200, rel.nblocks - blkno), lsn };
        const [x, y] = await Promise.all([ours.getPages(run), theirs.getPages(run)]);
        assert.ok(x.equals(y), `${JSON.stringify(rel)} from block ${blkno} on`);
        pages += run.count;
      }
    assert.ok(pages > 1000, `${pages} pages`);
    for (const { slru, ranges } of a.slrus)
      for (const [first, last] of ranges) {
        const run = { slru, pageno: first, count: last - first + 1, lsn };
        const [x, y] = await Promise.all([ours.getSlruPages(run), theirs.getSlruPages(run)]);
        assert.ok(x.equals(y), `${slru} ${first} to ${last}`);
      }
  }

  /**
   * A compute whose data directory is as of `past` asks for pages that have not changed since, however long ago the node was rebuilt: it gets them, and
   * never anything else.
   */
  async function samePast(ours: StorageClient, past: Lsn): Promise<void> {
    const theirs = await volume.client('n1');
    let [served, gone] = [0, 0];
    for (const rel of (await theirs.manifest({ lsn: past })).relations)
      for (let blkno = 0; blkno < rel.nblocks; blkno++) {
        const run = { ...rel, blkno, count: 1, lsn: past };
        try {
          const mine = await ours.getPages(run);
          assert.ok(mine.equals(await theirs.getPages(run)), JSON.stringify(run));
          served += 1;
        } catch (err) {
          if (!isDbError(err, 'PAGE_GONE_BY_GC')) throw err;
          gone += 1;
        }
      }
    assert.ok(served > 500 && gone > 0, `${served} pages served, ${gone} gone`);
  }

  async function sameAsFirst(client: StorageClient): Promise<void> {
    const lsn = writer.core.commitLsn;
    const first = await volume.client('n1');
    await Promise.all([client, first].map((c) => c.waitApplied({ lsn, timeoutMs: 10_000 })));
    await same(client, first, lsn);
  }

  async function write(fraction: number): Promise<void> {
    writer.write(at(fraction));
    await writer.committed(at(fraction));
  }

  it('of a wiped node, while a writer works: learner first, then a voter that truly counts', async () => {
    await lose('n3');
    await write(0.55);
    await volume.spawn('n3', { rebuild: { bytesPerSecond: 10_000_000, batchPages: 16 } });
    const early = await volume.client('n3', 'compute');
    const status = await early.status();
    assert.deepEqual([status.voter, status.learnerReason, status.appliedLsn], [false, 'amnesia', 0]);
    assert.equal((await early.promise({ epoch: 99, writerId: 'x' })).granted, false);
    await assert.rejects(early.waitApplied({ lsn: at(0.5), timeoutMs: 50 }), code('NODE_BEHIND'));
    await join('n3');
    await write(0.6);
    // A busy machine may look when it has copied all already.
    await volume.until(early, 'copying', ({ rebuild }) => rebuild === null || rebuild.copiedBytes > 0);
    await write(0.62);
    const client = await votes('n3');
    await sameAsFirst(client);
    await samePast(client, at(0.5));
    await volume.kill('n2', 'SIGKILL');
    await write(0.65);
    await sameAsFirst(client);
    await volume.spawn('n2');
    await join('n2');
  });

  for (const [id, part] of [
    ['n3', 'pages'],
    ['n2', 'log'],
    ['n3', 'identity.db'],
  ] as const)
    it(`of a node that lost only ${part}`, async () => {
      await lose(id, part);
      await volume.spawn(id);
      await join(id);
      const client = await votes(id);
      await sameAsFirst(client);
      const other = id === 'n2' ? 'n3' : 'n2';
      await volume.kill(other, 'SIGKILL');
      await write(part === 'pages' ? 0.68 : part === 'log' ? 0.7 : 0.72);
      await volume.spawn(other);
      await join(other);
    });

  it('goes on where it was after kill -9, as of the same LSN, from another peer when its own is gone', async () => {
    await lose('n3');
    let lsn = 0;
    let done = 0;
    for (let round = 0; round < 4; round++) {
      await volume.spawn('n3', { rebuild: { bytesPerSecond: 4_000_000, batchPages: 1 + 5 * round } });
      const client = await volume.client('n3');
      await volume.until(
        client,
        'copying',
        ({ rebuild }) => rebuild!.pagesDone > done && rebuild!.copiedBytes > 0,
      );
      const { rebuild, voter, appliedLsn } = await client.status();
      assert.deepEqual([voter, appliedLsn], [false, 0]);
      if (round > 0) assert.equal(rebuild!.lsn, lsn);
      lsn = rebuild!.lsn;
      if (round === 1) {
        const peer = rebuild!.peer;
        await volume.kill(peer, 'SIGKILL');
        await volume.until(
          client,
          'another peer',
          (s) => s.rebuild!.peer !== peer && s.rebuild!.pagesDone > 0,
        );
        assert.equal((await client.status()).rebuild!.lsn, lsn);
        await volume.spawn(peer);
        await join(peer);
      }
      done = (await client.status()).rebuild!.pagesDone;
      await sleep(Math.random() * 300);
      await volume.kill('n3', 'SIGKILL');
      await write(0.74 + round / 100);
    }
    await volume.spawn('n3');
    await join('n3');
    await sameAsFirst(await votes('n3'));
  });

  it('of a node that is wiped again while it is rebuilt', async () => {
    for (let round = 0; round < 2; round++) {
      await lose('n3');
      await volume.spawn('n3', { rebuild: { bytesPerSecond: 2_000_000, batchPages: 8 } });
      await volume.until(await volume.client('n3'), 'copying', ({ rebuild }) => rebuild!.pagesDone > 100);
    }
    await lose('n3');
    await volume.spawn('n3');
    await join('n3');
    await sameAsFirst(await votes('n3'));
  });

  it('of a node that comes back when its peers do not keep any more what comes next: it gives up what it has', async () => {
    await write(0.8);
    await volume.kill('n3', 'SIGKILL');
    for (const id of ['n1', 'n2']) {
      await volume.kill(id, 'SIGTERM');
      await volume.spawn(id, FORGETFUL);
      await join(id);
    }
    const { recordEnds } = volume.recording;
    for (const fraction of [0.85, 0.9, 0.95]) await write(fraction); // a file of log each
    writer.write(recordEnds[lastSwitch() + 50]!);
    await writer.committed(recordEnds[lastSwitch() + 50]!);
    for (const id of ['n1', 'n2'])
      await volume.until(await volume.client(id), 'log dropped', (s) => s.logStart > at(0.8));
    await volume.spawn('n3');
    const client = await volume.client('n3');
    await volume.until(client, 'a new log', (s) => !s.voter && s.logStart > at(0.8));
    await join('n3');
    await sameAsFirst(await votes('n3'));
    const { logStart, appliedLsn } = await client.status();
    assert.ok(
      logStart > at(0.8) && appliedLsn > logStart,
      `log from ${logStart} on, applied ${appliedLsn}, was at ${at(0.8)}`,
    );
    for (const id of ['n1', 'n2']) {
      await volume.kill(id, 'SIGTERM');
      await volume.spawn(id);
      await join(id);
      await volume.until(await volume.client(id), 'votes', ({ voter }) => voter);
    }
  });

  for (const [title, unnoticed] of [
    ['the first from the others, piece by piece, and these from it', null],
    ['also when one of them is noticed while the others copy from it', 'n2'],
    ['also when each took another for whole, and all have set theirs aside', 'none'],
  ] as const)
    it(`of all nodes whose pages are damaged at once: ${title}`, async () => {
      const ids = volume.nodes.map(({ id }) => id);
      for (const id of ids) {
        // What is only in RocksDB's own log becomes a file when it is opened again.
        await volume.kill(id, 'SIGTERM');
        await volume.spawn(id);
        await volume.kill(id, 'SIGTERM');
      }
      for (const [i, id] of ids.entries()) await flip(path.join(volume.node(id).dir, 'pages'), (i + 0.3) / 3);
      if (unnoticed === 'none')
        for (const id of ids) {
          const { dir } = volume.node(id);
          const identity = Identity.open(dir, { nodeId: id, volumeId: volume.config(id).volumeId! })!;
          identity.notePagesGivenUp(true);
          identity.close();
          await fs.rename(path.join(dir, 'pages'), path.join(dir, 'pages.damaged'));
        }
      for (const id of ids) {
        const scrub = id === unnoticed ? { enabled: false } : { pagesIntervalMs: 2000, dutyPercent: 80 };
        await volume.spawn(id, { scrub });
        await join(id);
      }
      for (const id of ids)
        await volume.until(
          await volume.client(id),
          'made anew',
          ({ voter, rebuild, metrics, appliedLsn }) => {
            assert.ok(voter, `node ${id} does not vote`);
            return metrics['rebuildBytes']! > 0 && rebuild === null && appliedLsn >= writer.core.commitLsn;
          },
        );
      for (const id of ['n2', 'n3']) await sameAsFirst(await volume.client(id));
    });

  it('and every node rebuilt, one after the other: nothing of the volume is left from before', async () => {
    for (const id of ['n1', 'n2', 'n3']) {
      await lose(id);
      // The first starts the epoch before enough others know of its new life: the writer must hear of it later.
      const late = id === 'n1' ? volume.node('n3').process : null;
      late?.kill('SIGSTOP');
      await volume.spawn(id);
      await join(id);
      late?.kill('SIGCONT');
      await votes(id);
    }
    const { end, files, relations } = volume.recording;
    writer.write(end);
    await writer.committed(end);
    for (const { id } of volume.nodes) {
      const client = await volume.client(id);
      await client.waitApplied({ lsn: end, timeoutMs: 10_000 });
      const { differences, pages } = compareWithFiles(await volume.pagesOf(client, end), files, relations, new Map(), []); // prettier-ignore
      assert.deepEqual([id, differences], [id, []]);
      assert.ok(pages > 1000);
    }
  });

  it('does not let a node vote again while too few others know of its new life', async () => {
    await lose('n3');
    await volume.kill('n2', 'SIGKILL');
    await volume.spawn('n3');
    const client = await volume.client('n3');
    await volume.until(client, 'rebuilt', ({ rebuild }) => rebuild!.state === 'following');
    await join('n3');
    await sleep(500);
    assert.equal((await client.status()).voter, false);
    await volume.spawn('n2');
    await join('n2');
    await votes('n3');
  });
});
