/** The folders of a start: what the disk refuses is said in words, with the folder and the way out. */
import assert from 'node:assert/strict';
import { existsSync, promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { computeDirs } from '../../src/compute/cluster-dirs.js';
import { foldersOfStart, onDisk } from '../../src/compute/start-steps.js';
import type { TermContext } from '../../src/compute/term-start.js';
import { DbError, isDbError } from '../../src/engine/errors.js';

describe('folders of a start', () => {
  let dir: string;
  const contextIn = (root: string): TermContext =>
    ({ dirs: computeDirs(root, path.join(dir, 'sockets'), 'primary') }) as TermContext;

  beforeEach(async () => {
    dir = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-start-'));
  });
  afterEach(() => fs.rm(dir, { recursive: true }));

  it('are new ones, and removed when the start fails', async () => {
    const undo: (() => Promise<void> | void)[] = [];
    const dirs = await foldersOfStart(contextIn(path.join(dir, 'primary')), (step) => undo.push(step));
    assert.ok(existsSync(path.dirname(dirs.data)));
    for (const step of undo) await step();
    assert.equal(existsSync(path.dirname(dirs.data)), false);
  });

  it('cannot be made: the error names the folder and the cause, and is not one to try again', async () => {
    await fs.writeFile(path.join(dir, 'file'), '');
    const root = path.join(dir, 'file', 'primary');
    await assert.rejects(
      foldersOfStart(contextIn(root), () => assert.fail('there is nothing to undo')),
      (err) =>
        isDbError(err, 'COMPUTE_DISK') &&
        err.message === `could not make a data directory in "${root}": Not a directory` &&
        err.reaction === 'usage' &&
        /Make room/.test(err.hint ?? ''),
    );
  });

  it('leave all other errors alone', async () => {
    const refused = new DbError('NODE_NONE_READABLE', 'no node');
    const fails = onDisk(contextIn(dir), () => Promise.reject(refused));
    await assert.rejects(fails, (err) => err === refused);
  });
});
