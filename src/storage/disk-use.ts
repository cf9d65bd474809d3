import { promises as fs } from 'node:fs';
import path from 'node:path';

/** Bytes of all files in a folder and those below it; 0 if there is none. Files may come and go meanwhile. */
export async function folderBytes(dir: string): Promise<number> {
  let bytes = 0;
  for (const entry of await fs.readdir(dir, { withFileTypes: true }).catch(absent([]))) {
    const name = path.join(dir, entry.name);
    if (entry.isDirectory()) bytes += await folderBytes(name);
    else bytes += await fs.stat(name).then((stat) => stat.size, absent(0));
  }
  return bytes;
}

/** Bytes that are free where `dir` is, for those without special rights. */
export async function freeBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await fs.statfs(dir);
  return bavail * bsize;
}

function absent<T>(instead: T): (err: NodeJS.ErrnoException) => T {
  return (err) => {
    if (err.code === 'ENOENT') return instead;
    throw err;
  };
}
