import { chownSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { lsn, type Lsn } from '../engine/lsn.js';
import type { DataDirManifest } from '../engine/pages/types.js';
import type { FileOwner } from './remote-files.js';
import type { TermContext } from './term-start.js';
import { CONFIG_FILES } from './volume-files.js';

const ASK_MS = 5000;

export type VolumeFiles = DataDirManifest['files'];

/**
 * The volume's files as of the newest log that a node has applied, `from` at least: a replica follows the primary's settings, and not those
 * of the checkpoint that it began at. Throws NODE_NONE_READABLE.
 */
export async function newestFiles(
  { links, reader }: Pick<TermContext, 'links' | 'reader'>,
  from: Lsn,
): Promise<VolumeFiles> {
  const told = await Promise.allSettled(links.connected().map((node) => node.status(ASK_MS)));
  const applied = told.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.appliedLsn] : []));
  const at = lsn(Math.max(from, ...applied));
  const { files } = await reader.read('the settings files', (node) => node.manifest({ lsn: at }));
  return files;
}

/** Replaces the settings files that differ, each in one step. Returns their names. */
export function replaceSettingsFiles(dataDir: string, files: VolumeFiles, owner: FileOwner | null): string[] {
  const changed: string[] = [];
  for (const { name, content } of files) {
    if (!(CONFIG_FILES as readonly string[]).includes(name)) continue;
    const file = path.join(dataDir, name);
    if (existsSync(file) && readFileSync(file).equals(content)) continue;
    writeFileSync(`${file}.new`, content, { mode: 0o600 });
    if (owner) chownSync(`${file}.new`, owner.uid, owner.gid);
    renameSync(`${file}.new`, file);
    changed.push(name);
  }
  return changed;
}
