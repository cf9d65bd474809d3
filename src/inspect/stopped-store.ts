/** The page store of a storage node that does not run, for tools: nothing in its folder is changed. */
import { constants, existsSync, promises as fs, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { isAlive } from '../cluster/daemon-process.js';
import { PageStore } from '../engine/pages/store.js';
import { PAGES_FOLDER } from '../storage/folders.js';

export interface StoppedStore {
  readonly store: PageStore;
  close(): Promise<void>;
}

/**
 * What is opened is a copy in which the large files, which never change, are links. A string says why there is no store: the node runs, or has no
 * pages.
 */
export async function openStoppedStore(dir: string): Promise<StoppedStore | string> {
  const pages = path.join(dir, PAGES_FOLDER);
  if (!existsSync(pages)) return `${dir} holds no pages`;
  if (nodeRuns(dir)) return `the node in ${dir} is running and keeps its pages to itself`;
  const copy = await fs.mkdtemp(path.join(os.tmpdir(), 'aurora-verify-'));
  const remove = (): Promise<void> => fs.rm(copy, { recursive: true, force: true });
  try {
    await linkFolder(pages, copy);
    const store = await PageStore.open(copy);
    const close = async (): Promise<void> => {
      await store.close();
      await remove();
    };
    return { store, close };
  } catch (err) {
    await remove();
    throw err;
  }
}

function nodeRuns(dir: string): boolean {
  const file = path.join(dir, 'node.pid');
  return existsSync(file) && isAlive(Number(readFileSync(file, 'utf8')));
}

/** RocksDB replaces table files, and appends to all others. */
async function linkFolder(from: string, to: string): Promise<void> {
  for (const name of await fs.readdir(from)) {
    if (name === 'LOCK') continue;
    const [source, target] = [path.join(from, name), path.join(to, name)];
    const linked = name.endsWith('.sst') && (await tryLink(source, target));
    if (!linked) await fs.copyFile(source, target, constants.COPYFILE_FICLONE);
  }
}

/** Not across file systems, nor on those without links. */
async function tryLink(source: string, target: string): Promise<boolean> {
  return fs.link(source, target).then(
    () => true,
    () => false,
  );
}
