/**
 * The page-in library call by call, without PostgreSQL: a small driver makes the calls that PostgreSQL makes, on files of which
 * nothing is there at first. Block b of each file holds bytes of value b + 1 in storage, so every answer shows where it came from.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, promises as fs, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DbError } from '../../src/engine/errors.js';
import { PageAgent } from '../../src/compute/page-agent.js';
import { ensurePagein, pageinEnvironment } from '../../src/compute/pagein-build.js';
import { createRemoteFile, MapFiles } from '../../src/compute/remote-files.js';
import { libraryDir } from '../helpers/cold-postgres.js';
import { FakePageSource } from '../helpers/fake-page-source.js';

const run = promisify(execFile);
const BLOCK = 8192;
const FILE = 'base/5/100';
const BLOCKS = 300;

/** A process that makes calls for us, one line each. */
class Driver {
  private readonly answers: AsyncIterator<string>;
  said = '';

  constructor(readonly child: ChildProcess) {
    this.answers = createInterface(child.stdout!)[Symbol.asyncIterator]();
    child.stderr!.on('data', (chunk: Buffer) => (this.said += chunk.toString()));
  }

  async call(line: string): Promise<string> {
    this.child.stdin!.write(`${line}\n`);
    const { value, done } = (await this.answers.next()) as { value: string; done: boolean };
    if (done) throw new Error(`the driver ended: ${this.said}`);
    return value;
  }

  async end(): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const exit = once(this.child, 'exit');
    this.child.stdin!.end();
    return ((await exit) as [number | null])[0];
  }
}

describe('page-in library', function () {
  let root: string;
  let program: string;
  let library: string;
  let source: FakePageSource;
  let agent: PageAgent;
  const drivers: Driver[] = [];

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    library = await ensurePagein(libraryDir());
    const builds = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-driver-'));
    program = path.join(builds, 'driver');
    await run('cc', ['-O1', '-o', program, path.join(import.meta.dirname, 'pagein-driver.c')]);
  });

  after(() => {
    if (program) rmSync(path.dirname(program), { recursive: true, force: true });
  });

  beforeEach(async () => {
    root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-pagein-'));
    const original = path.join(root, 'storage');
    await fs.mkdir(path.join(original, 'base/5'), { recursive: true });
    await fs.writeFile(
      path.join(original, FILE),
      Buffer.concat(Array.from({ length: BLOCKS }, (_, b) => Buffer.alloc(BLOCK, (b % 255) + 1))),
    );
    source = new FakePageSource(original);
    createRemoteFile(path.join(root, 'data'), path.join(root, 'maps'), FILE, BLOCKS);
    agent = await startAgent();
  });

  afterEach(async () => {
    for (const driver of drivers.splice(0)) {
      driver.child.kill('SIGKILL');
      await driver.end();
    }
    await agent.close();
    rmSync(root, { recursive: true, force: true });
  });

  async function startAgent(): Promise<PageAgent> {
    const started = new PageAgent(source, {
      socketPath: path.join(root, 'agent'),
      maps: new MapFiles(path.join(root, 'maps')),
      readAhead: { windowMax: 0 },
    });
    await started.start();
    return started;
  }

  function drive(timeoutMs = 10_000): Driver {
    const env = pageinEnvironment({
      library,
      dataDir: path.join(root, 'data'),
      mapsDir: path.join(root, 'maps'),
      agentSocket: path.join(root, 'agent'),
      timeoutMs,
    });
    const driver = new Driver(
      spawn(program, { cwd: path.join(root, 'data'), env: { ...process.env, ...env } }),
    );
    drivers.push(driver);
    return driver;
  }

  const map = (): Buffer => readFileSync(path.join(root, 'maps', FILE));
  const dataFile = (): string => path.join(root, 'data', FILE);

  it('fetches what a read touches, and nothing else', async () => {
    const d = drive();
    const fd = await d.call(`open ${FILE} r`);
    assert.equal(await d.call(`pread ${fd} 8192 ${7 * BLOCK}`), '8192 8x8192');
    assert.equal(await d.call(`pread ${fd} 8192 ${7 * BLOCK}`), '8192 8x8192');
    assert.equal(source.asked.size, 1);
    assert.equal(await d.call(`preadv ${fd} ${3 * BLOCK} ${6 * BLOCK}`), '24576 7x8192 8x8192 9x8192');
    assert.equal(source.asked.get(`${FILE}:7`), 1, 'the block in the middle was here already');
    assert.equal(await d.call(`pread ${fd} 100 ${20 * BLOCK - 50}`), '100 20x50 21x50');
    assert.equal(await d.call(`pread ${fd} 8192 ${BLOCKS * BLOCK}`), '0');
    assert.deepEqual([...source.asked.keys()].length, 5);
    assert.equal(map().filter((b) => b === 2).length, 5);
  });

  it('splits a long read into requests of 128 blocks', async () => {
    const d = drive();
    const fd = await d.call(`open ./${FILE} r`);
    assert.match(await d.call(`read ${fd} ${BLOCKS * BLOCK}`), /^2457600 1x8192 2x8192 /);
    assert.equal(agent.counters.requests, 3);
    assert.equal(agent.counters.blocksServed, BLOCKS);
  });

  it('knows absolute paths, and leaves files outside its folders alone', async () => {
    const d = drive();
    const fd = await d.call(`open ${dataFile()} r`);
    assert.equal(await d.call(`pread ${fd} 8192 0`), '8192 1x8192');
    writeFileSync(path.join(root, 'data', 'other'), 'x'.repeat(10));
    assert.equal(await d.call(`pread ${await d.call('open other r')} 100 0`), '10 120x10');
  });

  it('does not fetch what is overwritten whole, and completes what is overwritten in part', async () => {
    const d = drive();
    const fd = await d.call(`open ${FILE} w`);
    assert.equal(await d.call(`pwrite ${fd} 8192 ${4 * BLOCK} 200`), '8192');
    assert.equal(source.asked.size, 0);
    assert.equal(await d.call(`pread ${fd} 8192 ${4 * BLOCK}`), '8192 200x8192');
    assert.equal(await d.call(`pwritev ${fd} ${2 * BLOCK} ${10 * BLOCK + 100} 201`), '16384');
    assert.deepEqual([...source.asked.keys()], [`${FILE}:10`, `${FILE}:12`]);
    assert.equal(
      await d.call(`pread ${fd} ${3 * BLOCK} ${10 * BLOCK}`),
      `24576 11x100 201x16384 13x${BLOCK - 100}`,
    );
    assert.equal(await d.call(`write ${fd} 10 0 202`), '10');
    assert.equal(await d.call(`pread ${fd} 8192 0`), `8192 202x10 1x${BLOCK - 10}`);
  });

  it('never brings back what was cut off', async () => {
    const d = drive();
    const fd = await d.call(`open ${FILE} w`);
    assert.equal(await d.call(`ftruncate ${fd} ${10 * BLOCK + 5}`), '0');
    assert.equal(await d.call(`ftruncate ${fd} ${20 * BLOCK}`), '0');
    assert.equal(await d.call(`fallocate ${fd} ${10 * BLOCK} ${20 * BLOCK}`), '0');
    assert.equal(await d.call(`pread ${fd} ${2 * BLOCK} ${10 * BLOCK}`), `16384 11x5 0x${2 * BLOCK - 5}`);
    assert.equal(await d.call(`pread ${fd} 8192 ${29 * BLOCK}`), '8192 0x8192');
    assert.equal(await d.call(`pread ${fd} 8192 ${9 * BLOCK}`), '8192 10x8192');
    assert.equal(await d.call(`truncate ${FILE} 0`), '0');
    assert.equal(await d.call(`pwrite ${fd} 8192 0 77`), '8192');
    assert.equal(await d.call(`pread ${fd} 8192 0`), '8192 77x8192');
    assert.equal(source.asked.size, 2);
  });

  it('writes beyond the map are local', async () => {
    const d = drive();
    const fd = await d.call(`open ${FILE} w`);
    assert.equal(await d.call(`pwrite ${fd} ${3 * BLOCK} ${(BLOCKS - 1) * BLOCK} 9`), '24576');
    assert.equal(await d.call(`pread ${fd} ${9 * BLOCK} ${(BLOCKS - 1) * BLOCK}`), '24576 9x24576');
    assert.equal(source.asked.size, 0);
    assert.equal(statSync(path.join(root, 'maps', FILE)).size, BLOCKS);
  });

  it('forgets the map with the file: a new file of the same name is local', async () => {
    const d = drive();
    const old = await d.call(`open ${FILE} w`);
    assert.equal(await d.call(`unlink ${FILE}`), '0');
    assert.equal(existsSync(path.join(root, 'maps', FILE)), false);
    const fd = await d.call(`open ${FILE} wcx`);
    assert.equal(await d.call(`pwrite ${fd} 8192 8192 5`), '8192');
    assert.equal(await d.call(`pread ${fd} ${2 * BLOCK} 0`), '16384 0x8192 5x8192');
    assert.equal(
      await d.call(`pread ${old} 8192 0`),
      '8192 0x8192',
      'of the dropped file nothing is asked any more',
    );
    assert.equal(source.asked.size, 0);
  });

  it('does not take up the map that an older file left behind', async () => {
    rmSync(dataFile());
    const d = drive();
    const fd = await d.call(`open ${FILE} wc`);
    await d.call(`pwrite ${fd} 8192 8192 5`);
    assert.equal(await d.call(`pread ${fd} ${2 * BLOCK} 0`), '16384 0x8192 5x8192');
    assert.equal(existsSync(path.join(root, 'maps', FILE)), false);
  });

  it('opening with O_TRUNC empties the map, opening with O_CREAT alone does not', async () => {
    const d = drive();
    assert.equal(await d.call(`pread ${await d.call(`open ${FILE} wc`)} 8192 0`), '8192 1x8192');
    const fd = await d.call(`open ${FILE} wct`);
    await d.call(`pwrite ${fd} 8192 ${5 * BLOCK} 66`);
    assert.equal(await d.call(`pread ${fd} ${2 * BLOCK} ${4 * BLOCK}`), '16384 0x8192 66x8192');
  });

  it('fetches a whole file before its name changes', async () => {
    const d = drive();
    await d.call(`pwrite ${await d.call(`open ${FILE} w`)} 8192 8192 44`);
    assert.equal(await d.call(`rename ${FILE} base/5/200`), '0');
    assert.equal(existsSync(path.join(root, 'maps', FILE)), false);
    const fd = await d.call('open base/5/200 r');
    assert.equal(await d.call(`pread ${fd} ${3 * BLOCK} 0`), '24576 1x8192 44x8192 3x8192');
    assert.equal(source.asked.size, BLOCKS - 1);
    createRemoteFile(path.join(root, 'data'), path.join(root, 'maps'), 'base/6/1', 1);
    assert.match(await d.call('rename base/6 base/7'), /^-1 /);
  });

  it('copies: copy_file_range, a stream and a duplicate of a descriptor see whole files', async () => {
    const d = drive();
    const from = await d.call(`open ${FILE} r`);
    const to = await d.call('open base/5/300 wcx');
    assert.equal(await d.call(`copy ${from} ${to} ${1 << 30}`), String(BLOCKS * BLOCK));
    assert.deepEqual(
      readFileSync(path.join(root, 'data/base/5/300')),
      readFileSync(path.join(root, 'storage', FILE)),
    );
    assert.match(await d.call(`fopen ${FILE}`), /^2457600 1x8192 2x8192 /);
    const other = await d.call('open base/5/300 r');
    assert.equal(await d.call(`dup2 ${from} ${other}`), other);
    await d.call(`close ${from}`);
    assert.equal(await d.call(`pread ${other} 8192 8192`), '8192 2x8192');
  });

  it('many processes that want the same blocks fetch them once', async () => {
    source.delayMs = 20;
    const all = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const d = drive();
        const fd = await d.call(`open ${FILE} r`);
        return d.call(`pread ${fd} ${40 * BLOCK} ${(i % 3) * 10 * BLOCK}`);
      }),
    );
    for (const [i, answer] of all.entries()) {
      const first = (i % 3) * 10 + 1;
      const expected = Array.from({ length: 40 }, (_, b) => `${first + b}x8192`).join(' ');
      assert.equal(answer, `${40 * BLOCK} ${expected}`);
    }
    assert.deepEqual(source.repeated(), []);
    assert.equal(source.asked.size, 60);
  });

  it('a writer waits for the fill under way, and its page stays', async () => {
    source.delayMs = 150;
    const [reader, writer] = [drive(), drive()];
    const [a, b] = [await reader.call(`open ${FILE} r`), await writer.call(`open ${FILE} w`)];
    const slow = reader.call(`pread ${a} ${3 * BLOCK} 0`);
    while (source.fetches === 0) await sleep(5);
    assert.equal(await writer.call(`pwrite ${b} 8192 8192 99`), '8192');
    await slow;
    assert.equal(await reader.call(`pread ${a} ${3 * BLOCK} 0`), '24576 1x8192 99x8192 3x8192');
  });

  it('nobody waits for a process that died while it fetched', async () => {
    source.delayMs = 60_000;
    const victim = drive();
    const fd = await victim.call(`open ${FILE} r`);
    void victim.call(`pread ${fd} 8192 0`).catch(() => undefined);
    while (source.fetches === 0) await sleep(5);
    source.delayMs = 0;
    const heir = drive();
    const answer = heir.call(`pread ${await heir.call(`open ${FILE} r`)} 8192 0`);
    await sleep(50);
    assert.equal(source.fetches, 1, 'the heir waits for the lock');
    victim.child.kill('SIGKILL');
    assert.equal(await answer, '8192 1x8192');
  });

  it('outlives a restart of the agent', async () => {
    const d = drive();
    const fd = await d.call(`open ${FILE} r`);
    await d.call(`pread ${fd} 8192 0`);
    await agent.close();
    const answer = d.call(`pread ${fd} 8192 8192`);
    await sleep(100);
    agent = await startAgent();
    assert.equal(await answer, '8192 2x8192');
  });

  it('tries again when the agent asks for patience, and gives up at once when it is told to', async () => {
    const d = drive();
    const fd = await d.call(`open ${FILE} r`);
    source.failure = new DbError('NET_TEST', 'no storage node answers', { reaction: 'retry' });
    const answer = d.call(`pread ${fd} 8192 0`);
    while (source.fetches < 3) await sleep(5);
    source.failure = null;
    assert.equal(await answer, '8192 1x8192');
    source.failure = new DbError('PAGE_TEST', 'page is damaged everywhere');
    assert.equal(await d.call(`pread ${fd} 8192 8192`), '-1 EIO');
    assert.match(d.said, /openaurora pagein: base\/5\/100: blocks 1\.\.1: page is damaged everywhere\n/);
    source.failure = null;
    assert.equal(await d.call(`pread ${fd} 8192 8192`), '8192 2x8192', 'the block is still remote');
  });

  it('without an agent: EIO when the time is up, for those who wait as well', async () => {
    await agent.close();
    const begin = Date.now();
    const answers = await Promise.all(
      [drive(400), drive(400), drive(400)].map(async (d) => {
        const fd = await d.call(`open ${FILE} w`);
        return [await d.call(`pread ${fd} 8192 0`), await d.call(`pwrite ${fd} 10 8192 1`), d.said];
      }),
    );
    for (const [read, write, said] of answers) {
      assert.equal(read, '-1 EIO');
      assert.equal(write, '-1 EIO');
      assert.match(said!, /base\/5\/100: blocks 0\.\.0: page agent \S+: connect: No such file or directory/);
    }
    const took = Date.now() - begin;
    assert.ok(took >= 800 && took < 5000, `took ${took} ms`);
    assert.ok(map().every((b) => b === 0));
  });

  it('a hint brings blocks to the agent before they are wanted', async () => {
    await agent.close();
    agent = new PageAgent(source, {
      socketPath: path.join(root, 'agent'),
      maps: new MapFiles(path.join(root, 'maps')),
    });
    await agent.start();
    const d = drive();
    const fd = await d.call(`open ${FILE} r`);
    assert.equal(await d.call(`willneed ${fd} ${4 * BLOCK} ${8 * BLOCK}`), '0');
    while (agent.counters.blocksPrefetched < 4) await sleep(5);
    assert.equal(await d.call(`pread ${fd} ${2 * BLOCK} ${9 * BLOCK}`), '16384 10x8192 11x8192');
    assert.equal(agent.counters.prefetchHits, 2);
    assert.equal(agent.counters.blocksFetched, 0);
  });

  it('hands settings to the volume before the file has them', async () => {
    const d = drive();
    const [tmp, conf] = ['postgresql.auto.conf.tmp', 'postgresql.auto.conf'].map((f) =>
      path.join(root, 'data', f),
    );
    writeFileSync(tmp!, "work_mem = '64MB'\n");
    source.putFailure = new DbError('QUORUM_TEST', 'no quorum', { reaction: 'usage' });
    assert.equal(await d.call('rename postgresql.auto.conf.tmp postgresql.auto.conf'), '-1 EIO');
    assert.equal(existsSync(conf!), false);
    source.putFailure = null;
    assert.equal(await d.call(`rename ${tmp} ${conf}`), '0');
    assert.equal(source.files.get('postgresql.auto.conf'), "work_mem = '64MB'\n");
    assert.equal(readFileSync(conf!, 'utf8'), "work_mem = '64MB'\n");
  });
});
