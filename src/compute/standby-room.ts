import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseControlFile, type ControlFile, type ControlParameters } from '../engine/control/index.js';
import { isDbError } from '../engine/errors.js';

const CONTROL_FILE = 'global/pg_control';

/** What a hot standby must have at least as much of as its primary (CheckRequiredParameterValues, xlogrecovery.c). */
const SETTINGS = {
  maxConnections: 'max_connections',
  maxWorkerProcesses: 'max_worker_processes',
  maxWalSenders: 'max_wal_senders',
  maxPreparedXacts: 'max_prepared_transactions',
  maxLocksPerXact: 'max_locks_per_transaction',
} as const satisfies Partial<Record<keyof ControlParameters, string>>;

type Name = keyof typeof SETTINGS;
const NAMES = Object.keys(SETTINGS) as Name[];

export type Room = Readonly<Record<Name, number>>;

/** The most of each. */
export function roomForAll(first: Room, ...others: Room[]): Room {
  return Object.fromEntries(
    NAMES.map((name) => [name, Math.max(first[name], ...others.map((room) => room[name]))]),
  ) as Record<Name, number>;
}

/** Settings of which `room` has less than `needed`. */
export function lacking(room: Room, needed: Room): string[] {
  return NAMES.filter((name) => room[name] < needed[name]).map((name) => SETTINGS[name]);
}

/** What a replica has room for that was given these settings itself: they may be more. */
export function roomWith(room: Room, own: Readonly<Record<string, string>>): Room {
  const given = (name: Name): number => Number(own[SETTINGS[name]]) || 0;
  return roomForAll(room, Object.fromEntries(NAMES.map((name) => [name, given(name)])) as Room);
}

/** As PostgreSQL's settings. */
export function roomSettings(room: Room): Record<string, string> {
  return Object.fromEntries(NAMES.map((name) => [SETTINGS[name], String(room[name])]));
}

/** Null while it cannot be read: it is being written, or its directory is made or removed. */
export function readControlFile(dataDir: string): ControlFile | null {
  try {
    return parseControlFile(readFileSync(path.join(dataDir, CONTROL_FILE)));
  } catch (err) {
    if (isDbError(err, 'CONTROL_BAD_CRC') || (err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
}

/**
 * What standbys of this compute were found to need. A primary may have raised a setting and lowered it again since the checkpoint that a replica
 * begins at: only replay meets that, each time anew, and so the next life must know it from the start.
 */
export class StandbyRoom {
  private known: Room | null = null;

  need(room: Room): void {
    this.known = roomForAll(room, ...(this.known ? [this.known] : []));
  }

  with(room: Room): Room {
    return roomForAll(room, ...(this.known ? [this.known] : []));
  }
}
