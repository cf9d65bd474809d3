/** RocksDB on a disk without a free byte: it refuses to write, goes on reading, loses nothing, and writes again once it is opened anew. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { LOADER } from '../../helpers/loader.js';
import { SmallDisk } from '../../helpers/small-disk.js';

describe('page store on a full disk', function () {
  this.timeout(120_000);

  it('refuses, reads on, and goes on after it was opened anew', async () => {
    const scratch = mkdtempSync(path.join(os.tmpdir(), 'oa-full-'));
    const dir = path.join(scratch, 'disk');
    mkdirSync(dir);
    const disk = await SmallDisk.create(dir, scratch, 64);
    const program = path.join(import.meta.dirname, '../../helpers/full-store.ts');
    const child = spawn(process.execPath, [...LOADER, program, path.join(dir, 'pages')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...disk.environment },
    });
    try {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const next = async (): Promise<string> => ((await lines.next()).value as string | undefined) ?? 'ended';
      assert.equal(await next(), 'ready');
      disk.fill();
      child.stdin.write('fill\n');
      assert.equal(await next(), 'full');
      disk.empty();
      child.stdin.write('empty\n');
      assert.match(await next(), /^whole \d+ space NODE_DISK_FULL$/);
    } finally {
      if (child.exitCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      disk.destroy();
      rmSync(scratch, { recursive: true, force: true });
    }
  });
});
