import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';

/**
 * Which compute of this machine became the primary last, for whoever wants to connect to it: a small file beside the sockets. It decides
 * nothing (epochs do); if it is lost, the cluster's manifest names the compute that was the primary before.
 */
export interface PrimaryNote {
  readonly name: string;
  readonly epoch: number;
}

const noteFile = (socketDir: string): string => path.join(socketDir, 'primary.json');

/** Null when there is none, or it cannot be read. */
export function readPrimaryNote(socketDir: string): PrimaryNote | null {
  let note: unknown;
  try {
    note = JSON.parse(readFileSync(noteFile(socketDir), 'utf8'));
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT' || err instanceof SyntaxError) return null;
    throw err;
  }
  const { name, epoch } = (note ?? {}) as Partial<PrimaryNote>;
  return typeof name === 'string' && Number.isSafeInteger(epoch) ? { name, epoch: epoch! } : null;
}

/** Replaces a note of an older epoch. */
export function writePrimaryNote(socketDir: string, note: PrimaryNote): void {
  const known = readPrimaryNote(socketDir);
  if (known && known.epoch >= note.epoch) return;
  const file = noteFile(socketDir);
  const fd = openSync(`${file}.${note.name}`, 'w', 0o600);
  try {
    writeSync(fd, JSON.stringify(note));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${file}.${note.name}`, file);
}
