/** Builds the test's extension with a resource manager of its own; see custom-rmgr.c. */
import { execFile } from 'node:child_process';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SOURCE = path.join(import.meta.dirname, '..', 'compute', 'custom-rmgr.c');
const FLAGS = ['-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC'];

/** What `registered` registers. */
export const CUSTOM_RMGR = { id: 129, name: 'test notes' };

export interface CustomRmgrLibraries {
  /** For shared_preload_libraries; has `write_note() RETURNS bigint`, which logs a record and returns its end. */
  readonly registered: string;
  /** Has the function, but registers nothing, so that it can be loaded at any time. */
  readonly unregistered: string;
  remove(): Promise<void>;
}

/** Absolute paths of shared objects that any account may read. */
export async function buildCustomRmgr(): Promise<CustomRmgrLibraries> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-rmgr-'));
  await fs.chmod(folder, 0o755);
  const registered = path.join(folder, 'custom-rmgr.so');
  const unregistered = path.join(folder, 'unregistered.so');
  await run('cc', [...FLAGS, '-o', registered, SOURCE]);
  await run('cc', [...FLAGS, '-DUNREGISTERED', '-o', unregistered, SOURCE]);
  return { registered, unregistered, remove: () => fs.rm(folder, { recursive: true, force: true }) };
}
