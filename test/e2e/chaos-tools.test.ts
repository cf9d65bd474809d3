/** The tools of the fault matrix do what they say: the proxy between processes, the library with its disks and clocks, the judge of flatness. */
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { promises as fs, readFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { buildFaultIo, FaultIo } from '../chaos/fault-io.js';
import { FaultNet } from '../chaos/fault-net.js';
import { flatness, slope } from '../chaos/series.js';
import { eventually } from '../helpers/cluster.js';

describe('tools of the fault matrix', function () {
  this.timeout(60_000);

  describe('network', () => {
    let network: FaultNet;
    let echo: net.Server;
    let port: number;
    const sockets: net.Socket[] = [];

    beforeEach(async () => {
      network = new FaultNet();
      echo = net.createServer((socket) => {
        sockets.push(socket.on('error', () => undefined));
        socket.pipe(socket);
      });
      echo.listen(0, '127.0.0.1');
      await once(echo, 'listening');
      const target = { host: '127.0.0.1', port: (echo.address() as net.AddressInfo).port };
      ({ port } = await network.link('a', 'b', target));
    });
    afterEach(async () => {
      for (const socket of sockets.splice(0)) socket.destroy();
      await network.close();
      echo.close();
    });

    async function connect(): Promise<{
      socket: net.Socket;
      text: () => string;
      ended: () => string | null;
    }> {
      const socket = net.connect({ port, host: '127.0.0.1' });
      sockets.push(socket);
      let text = '';
      let ended: string | null = null;
      socket.on('data', (bytes: Buffer) => (text += bytes.toString()));
      socket.on('error', (err: NodeJS.ErrnoException) => (ended = err.code ?? err.message));
      socket.on('end', () => (ended ??= 'end'));
      await once(socket, 'connect');
      return { socket, text: () => text, ended: () => ended };
    }

    it('a dropped direction says nothing to anybody, and what was sent meanwhile arrives when it is mended', async () => {
      const one = await connect();
      one.socket.write('before ');
      await eventually('the echo', () => one.text() === 'before ');
      network.set('b', 'a', 'drop');
      one.socket.write('during ');
      // A connection that begins meanwhile is made when both ways are there.
      const two = await connect();
      two.socket.write('second');
      await eventually('the other side has it', () => sockets[1]!.bytesRead === 'before during '.length);
      sockets[1]!.end('last words');
      await new Promise((resolve) => setTimeout(resolve, 200)); // nothing may come
      assert.deepEqual([one.text(), one.ended(), two.text()], ['before ', null, '']);
      network.set('b', 'a', 'pass');
      await eventually('all of it', () => one.ended() !== null && two.text() === 'second');
      assert.deepEqual([one.text(), one.ended()], ['before during last words', 'end']);
    });

    it('a delayed direction keeps the order; a cut one resets', async () => {
      network.set('a', 'b', 100);
      const one = await connect();
      const begun = performance.now();
      for (let i = 0; i < 50; i++) one.socket.write(`${i},`);
      const all = Array.from({ length: 50 }, (_, i) => `${i},`).join('');
      await eventually('all of it', () => one.text() === all);
      assert.ok(performance.now() - begun >= 99);
      network.set('a', 'b', 'cut');
      await eventually('a reset', () => one.ended() !== null);
      assert.equal(one.ended(), 'ECONNRESET');
      assert.equal(network.openConnections, 0);
    });
  });

  describe('disk and clock', () => {
    let dir: string;
    let io: FaultIo;

    before(async () => {
      dir = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), 'oa-faultio-')));
      await fs.mkdir(path.join(dir, 'disk'));
      io = new FaultIo(await buildFaultIo(dir), path.join(dir, 'control'), path.join(dir, 'disk'));
    });
    after(async () => {
      io.close();
      await fs.rm(dir, { recursive: true });
    });

    /** Runs a script in a Node.js of its own under the library; gives what it prints as JSON. */
    async function under(script: string): Promise<Record<string, unknown>> {
      const code = `const fs = require('node:fs'); const at = (name) => require('node:path').join(${JSON.stringify(path.join(dir, 'disk'))}, name);
        (async () => { ${script} })().then((found) => console.log(JSON.stringify(found)));`;
      const child = spawn(process.execPath, ['-e', code], {
        env: { ...process.env, ...io.environment },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
      await once(child, 'close');
      return JSON.parse(text) as Record<string, unknown>;
    }

    it('a disk with little room takes what fits, and overwrites; elsewhere there is room', async () => {
      io.setRoom(10_000);
      const found = await under(`
        const fd = fs.openSync(at('file'), 'w+');
        const first = fs.writevSync(fd, [Buffer.alloc(6000, 1), Buffer.alloc(6000, 2)], 0);
        const overwritten = fs.writeSync(fd, Buffer.alloc(9000, 3), 0, 9000, 0);
        const code = await new Promise((resolve) => fs.write(fd, Buffer.alloc(100), 0, 100, 10_000, (err) => resolve(err?.code)));
        fs.writeFileSync(at('../elsewhere'), Buffer.alloc(50_000));
        const { bavail } = fs.statfsSync(at('.'));
        return { first, overwritten, code, bavail };`);
      assert.deepEqual(found, { first: 10_000, overwritten: 9000, code: 'ENOSPC', bavail: 0 });
      assert.ok(io.bites().writesRefused >= 2);
      assert.deepEqual([...new Set(readFileSync(path.join(dir, 'disk', 'file')))], [3, 2]);
      io.setRoom(null);
      assert.deepEqual(await under(`fs.appendFileSync(at('file'), 'more'); return {};`), {});
    });

    it('a slow disk syncs late, a wrong clock shows another time, and timers do not care', async () => {
      io.setSyncDelay(200);
      io.setClock(-3_600_000);
      const found = await under(`
        const begun = performance.now();
        const fd = fs.openSync(at('file'), 'r+');
        await new Promise((resolve) => fs.fdatasync(fd, resolve));
        fs.fsyncSync(fd);
        const syncedMs = performance.now() - begun;
        await new Promise((resolve) => setTimeout(resolve, 50));
        return { syncedMs, now: Date.now() };`);
      assert.ok((found['syncedMs'] as number) >= 400, `${found['syncedMs'] as number} ms`);
      const behind = Date.now() - (found['now'] as number);
      assert.ok(behind >= 3_600_000 && behind < 3_660_000, `${behind} ms behind`);
      const { syncsDelayed, clockReads } = io.bites();
      assert.ok(syncsDelayed === 2 && clockReads > 0);
      io.heal();
      assert.ok(
        Math.abs(((await under('return { now: Date.now() };'))['now'] as number) - Date.now()) < 60_000,
      );
    });
  });

  it('a sawtooth is flat, a leak in it is not, and a single peak moves nothing', () => {
    const series = (value: (i: number) => number): { atMs: number; value: number }[] =>
      Array.from({ length: 100 }, (_, i) => ({ atMs: i * 1000, value: value(i) }));
    const sawtooth = (i: number): number => 100 + (i % 7) * 5;
    assert.ok(flatness(series(sawtooth), 0.1, 1).flat);
    assert.ok(
      flatness(
        series((i) => (i === 97 ? 5000 : sawtooth(i))),
        0.1,
        1,
      ).flat,
    );
    const leak = flatness(
      series((i) => sawtooth(i) + i),
      0.1,
      1,
    );
    assert.ok(!leak.flat && leak.growth > 40 && leak.growth < 60, `${leak.growth}`);
    // What grew in the first half is a warm-up.
    assert.ok(
      flatness(
        series((i) => Math.min(i, 40) * 10 + sawtooth(i)),
        0.1,
        1,
      ).flat,
    );
    assert.equal(slope(series((i) => 3 * i)), 0.003);
  });
});
