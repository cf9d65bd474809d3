/** The daemon's side of demand paging: the agent's wire, reading ahead, remote files, and the library's build. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { once } from 'node:events';
import { promises as fs, statSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PageAgent, type PageSource } from '../../src/compute/page-agent.js';
import { ensurePagein, probePagein } from '../../src/compute/pagein-build.js';
import { findPostgres } from '../../src/compute/postgres.js';
import { ReadAhead } from '../../src/compute/readahead.js';
import {
  createRemoteFile,
  MapFiles,
  spreadFolders,
  type RemoteMaps,
} from '../../src/compute/remote-files.js';
import { isDbError } from '../../src/engine/errors.js';

const BLOCK = 8192;
const FILE = 'base/5/100';

/** Pages that carry their block number. */
function pagesOf(first: number, count: number): Buffer {
  const pages = Buffer.alloc(count * BLOCK);
  for (let i = 0; i < count; i++) pages.writeUInt32LE(first + i, i * BLOCK);
  return pages;
}

function numbersIn(parts: Buffer[]): number[] {
  const all = Buffer.concat(parts);
  return Array.from({ length: all.length / BLOCK }, (_, i) => all.readUInt32LE(i * BLOCK));
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

function request(op: number, name: string, first: number, count: number, content = ''): Buffer {
  const header = Buffer.alloc(16);
  header.write('OAPI', 0, 'latin1');
  header[4] = 1;
  header[5] = op;
  header.writeUInt16LE(name.length, 6);
  header.writeUInt32LE(first, 8);
  header.writeUInt32LE(count, 12);
  return Buffer.concat([header, Buffer.from(name), Buffer.from(content)]);
}

describe('demand paging in the daemon', () => {
  let root: string;
  beforeEach(async () => {
    root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-agent-'));
  });
  afterEach(async () => fs.rm(root, { recursive: true, force: true }));

  describe('page agent', () => {
    let agent: PageAgent;
    const source: PageSource & { put: string[]; slow: number } = {
      put: [],
      slow: 0,
      async fetch(_path, first, count) {
        if (first === 1) await sleep(source.slow);
        return first === 666 ? Buffer.alloc(10) : pagesOf(first, count);
      },
      putFile(name, content) {
        source.put.push(`${name}=${content.toString()}`);
        return Promise.resolve();
      },
    };

    beforeEach(async () => {
      agent = new PageAgent(source, { socketPath: path.join(root, 'agent') });
      await agent.start();
    });
    afterEach(async () => agent.close());

    /** Sends bytes cut in pieces and reads replies until `replies` have come or the agent hangs up. */
    async function exchange(bytes: Buffer, replies: number, piece = bytes.length) {
      const socket = net.connect(path.join(root, 'agent'));
      const got: { status: number; payload: Buffer }[] = [];
      let pending = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        pending = Buffer.concat([pending, chunk]);
        while (pending.length >= 16 && pending.length >= 16 + pending.readUInt32LE(12)) {
          assert.equal(pending.toString('latin1', 0, 4), 'OAPR');
          const end = 16 + pending.readUInt32LE(12);
          got.push({ status: pending[5]!, payload: pending.subarray(16, end) });
          pending = pending.subarray(end);
        }
        if (got.length === replies) socket.end();
      });
      const closed = once(socket, 'close');
      for (let at = 0; at < bytes.length; at += piece) {
        socket.write(bytes.subarray(at, at + piece));
        if (piece < bytes.length) await new Promise((resolve) => setImmediate(resolve));
      }
      await closed;
      return got;
    }

    it('answers in the order of the requests, however the bytes are cut', async () => {
      source.slow = 30;
      const bytes = Buffer.concat([
        request(1, FILE, 1, 2),
        request(1, 'pg_xact/0000', 7, 1),
        request(3, 'postgresql.auto.conf', 0, 5, 'a = 1'),
        request(1, 'global/1262_vm', 0, 1),
      ]);
      for (const piece of [bytes.length, 7, 1]) {
        const got = await exchange(bytes, 4, piece);
        assert.deepEqual(
          got.map((r) => r.status),
          [0, 0, 0, 0],
        );
        assert.deepEqual(numbersIn([got[0]!.payload]), [1, 2]);
        assert.deepEqual(numbersIn([got[1]!.payload]), [7]);
        assert.equal(got[2]!.payload.length, 0);
      }
      assert.deepEqual(source.put, Array(3).fill('postgresql.auto.conf=a = 1'));
    });

    it('refuses what no data directory holds, and says why', async () => {
      const bad = [
        request(1, '../../etc/passwd', 0, 1),
        request(1, 'base/5/../6/1', 0, 1),
        request(1, FILE, 0, 129),
        request(1, FILE, 0, 0),
        request(1, FILE, 131072, 1),
        request(1, FILE, 0xffffffff, 1),
        request(1, 'pg_xact/0000', 31, 2),
        request(3, 'postgresql.conf', 0, 1, 'x'),
        request(1, FILE, 666, 1),
      ];
      const got = await exchange(Buffer.concat(bad), bad.length);
      assert.deepEqual(
        got.map((r) => r.status),
        bad.map(() => 2),
      );
      for (const { payload } of got) assert.ok(payload.length > 10 && payload.length <= 400);
      assert.equal(agent.counters.errors, bad.length);
      assert.match(got.at(-1)!.payload.toString(), /10 bytes for 1 blocks of base\/5\/100 from 666 on/);
    });

    it('hangs up on what is not a request', async () => {
      const huge = request(3, 'postgresql.auto.conf', 0, 0x7fffffff);
      for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), request(9, FILE, 0, 1), huge])
        assert.deepEqual(await exchange(bytes, 1), []);
      assert.equal((await exchange(request(1, FILE, 3, 1), 1)).length, 1, 'others are served on');
    });

    it('takes the place of a dead agent, and lets only the owner connect', async () => {
      await agent.close();
      await fs.writeFile(path.join(root, 'agent'), '');
      agent = new PageAgent(source, { socketPath: path.join(root, 'agent') });
      await agent.start();
      assert.equal(statSync(path.join(root, 'agent')).mode & 0o777, 0o600);
      await agent.close();
      await agent.close();
    });
  });

  describe('reading ahead', () => {
    /** All blocks below `end` are remote. */
    const mapOf = (end: number): RemoteMaps => ({
      remoteRun: (_path, first, count) =>
        first < end ? { first, count: Math.min(count, end - first) } : null,
    });

    it('runs ahead of a scan, by more and more, up to the end of the file', async () => {
      const fetched: [number, number][] = [];
      const ahead = new ReadAhead((_p, first, count) => {
        fetched.push([first, count]);
        return Promise.resolve(pagesOf(first, count));
      }, mapOf(1000));
      for (let at = 0; at < 1000; at += 8)
        assert.deepEqual(numbersIn(await ahead.read(FILE, at, 8)), range(at, 8));
      assert.deepEqual(fetched.slice(0, 2), [
        [0, 8],
        [8, 8],
      ]);
      const asked = fetched.reduce((sum, [, count]) => sum + count, 0);
      assert.equal(asked, 1000, 'each block was fetched once, none beyond the end');
      assert.ok(fetched.length < 50, `${fetched.length} fetches for 125 requests`);
      assert.equal(ahead.counters.prefetchHits, 984);
      assert.equal(ahead.size, 0);
    });

    it('leaves random reads alone', async () => {
      const ahead = new ReadAhead(
        (_p, first, count) => Promise.resolve(pagesOf(first, count)),
        mapOf(100_000),
      );
      for (let i = 1; i < 500; i++) await ahead.read(FILE, (i * 7919) % 100_000, 1);
      assert.equal(ahead.counters.blocksPrefetched, 0);
    });

    it('does not keep more than it may', async () => {
      const ahead = new ReadAhead(
        (_p, first, count) => Promise.resolve(pagesOf(first, count)),
        mapOf(100_000),
        { cacheBlocks: 256 },
      );
      for (let i = 0; i < 20; i++) {
        ahead.prefetch(`base/5/${i}`, 0, 100);
        assert.ok(ahead.size <= 256);
      }
      assert.deepEqual(numbersIn(await ahead.read('base/5/0', 0, 100)), range(0, 100));
      assert.ok(ahead.counters.prefetchDropped >= 20 * 100 - 256);
    });

    it('a fetch ahead that fails costs its readers nothing', async () => {
      let healthy = false;
      const ahead = new ReadAhead(
        (_p, first, count) =>
          healthy ? Promise.resolve(pagesOf(first, count)) : Promise.reject(new Error('node is away')),
        mapOf(100),
      );
      ahead.prefetch(FILE, 0, 40);
      healthy = true;
      assert.deepEqual(numbersIn(await ahead.read(FILE, 30, 10)), range(30, 10));
      await sleep(0);
      assert.equal(ahead.counters.prefetchErrors, 2);
      assert.equal(ahead.size, 0);
    });

    it('any interleaving of reads and hints gets the right pages', async () => {
      const step = fc.record({
        file: fc.integer({ min: 1, max: 2 }),
        first: fc.integer({ min: 0, max: 299 }),
        count: fc.integer({ min: 1, max: 40 }),
        hint: fc.boolean(),
        lag: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 60 }),
          fc.integer({ min: 16, max: 400 }),
          async (steps, room) => {
            let turn = 0;
            const ahead = new ReadAhead(
              async (_p, first, count) => {
                if (turn++ % 5 === 3) throw new Error('once in a while');
                if (turn % 2) await new Promise((resolve) => setImmediate(resolve));
                return pagesOf(first, count);
              },
              mapOf(340),
              { cacheBlocks: room },
            );
            const reads: Promise<void>[] = [];
            for (const { file, first, count, hint, lag } of steps) {
              if (hint) ahead.prefetch(`base/5/${file}`, first, count);
              else
                reads.push(
                  ahead.read(`base/5/${file}`, first, count).then(
                    (parts) => assert.deepEqual(numbersIn(parts), range(first, count)),
                    (err: Error) => assert.equal(err.message, 'once in a while'),
                  ),
                );
              if (lag) await Promise.allSettled(reads);
            }
            await Promise.all(reads);
            await sleep(0);
            assert.ok(ahead.size <= room);
          },
        ),
        { numRuns: 60 },
      );
    });
  });

  describe('remote files', () => {
    it('are sparse, of full size, in segments, with maps of a byte a block', async () => {
      const [data, maps] = [path.join(root, 'data'), path.join(root, 'maps')];
      createRemoteFile(data, maps, 'base/5/1', 131072 + 5);
      createRemoteFile(data, maps, 'base/5/2', 0);
      createRemoteFile(data, maps, 'base/5/3', 131072);
      assert.deepEqual((await fs.readdir(path.join(data, 'base/5'))).sort(), ['1', '1.1', '2', '3']);
      assert.deepEqual((await fs.readdir(path.join(maps, 'base/5'))).sort(), ['1', '1.1', '3']);
      const file = statSync(path.join(data, 'base/5/1'));
      assert.equal(file.size, 2 ** 30);
      assert.equal(file.blocks, 0);
      assert.equal(statSync(path.join(data, 'base/5/1.1')).size, 5 * BLOCK);
      assert.equal(statSync(path.join(maps, 'base/5/1.1')).size, 5);
      assert.throws(() => createRemoteFile(data, maps, 'base/5/2', 1), /EEXIST/);
      const map = new MapFiles(maps);
      assert.deepEqual(map.remoteRun('base/5/1.1', 2, 100), { first: 2, count: 3 });
      assert.equal(map.remoteRun('base/5/1.1', 5, 100), null);
      assert.equal(map.remoteRun('base/5/none', 0, 100), null);
      await fs.writeFile(path.join(maps, 'base/5/1.1'), Buffer.from([0, 2, 0, 0, 2]));
      assert.deepEqual(map.remoteRun('base/5/1.1', 1, 4), { first: 2, count: 2 });
    });

    it('make do with a file system that cannot spread folders', async () => {
      assert.equal(await spreadFolders(path.join(root, 'missing')), false);
    });
  });

  describe('the page-in library', function () {
    this.timeout(30_000);
    const saved = process.env['CC'];
    afterEach(() => {
      if (saved === undefined) delete process.env['CC'];
      else process.env['CC'] = saved;
    });

    before(function () {
      if (process.platform !== 'linux') this.skip();
    });

    it('is compiled without a warning, once, readable by all, and loads into postgres', async () => {
      process.env['CC'] = 'cc -Werror';
      await fs.chmod(root, 0o755);
      const cache = path.join(root, 'cache');
      const [library, same] = await Promise.all([ensurePagein(cache), ensurePagein(cache)]);
      assert.equal(library, same);
      const { mtimeMs, mode } = statSync(library);
      assert.equal(mode & 0o777, 0o755);
      assert.equal(await ensurePagein(cache), library);
      assert.equal(statSync(library).mtimeMs, mtimeMs);
      assert.deepEqual(await fs.readdir(cache), [path.basename(library)]);
      await probePagein(library, await findPostgres());
    });

    it('says what is missing when it cannot be compiled or loaded', async () => {
      process.env['CC'] = path.join(root, 'no-such-cc');
      await assert.rejects(ensurePagein(root), (err) => isDbError(err, 'CLUSTER_NO_COMPILER'));
      process.env['CC'] = 'cc -include no_such_header.h';
      await assert.rejects(
        ensurePagein(root),
        (err) => isDbError(err, 'CLUSTER_PAGEIN_BUILD') && /no_such_header/.test(err.message),
      );
      assert.deepEqual(await fs.readdir(root), []);
      await fs.writeFile(path.join(root, 'broken.so'), 'not a library');
      await assert.rejects(
        probePagein(path.join(root, 'broken.so'), await findPostgres()),
        (err) => isDbError(err, 'CLUSTER_PAGEIN_UNUSABLE') && /broken\.so/.test(err.message),
      );
    });

    it('is for Linux', async () => {
      const real = Object.getOwnPropertyDescriptor(process, 'platform')!;
      Object.defineProperty(process, 'platform', { value: 'darwin' });
      try {
        await assert.rejects(ensurePagein(root), (err) => isDbError(err, 'CLUSTER_NO_PAGEIN'));
      } finally {
        Object.defineProperty(process, 'platform', real);
      }
    });
  });
});
