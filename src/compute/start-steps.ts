/** What the start of a writer's term and that of a replica have in common: undoing, PostgreSQL on a data directory from storage, its folders. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { DbError, errnoWords, errorMessage } from '../engine/errors.js';
import type { Lsn } from '../engine/lsn.js';
import type { RelationFork } from '../engine/pages/types.js';
import { newTermDirs, publishTerm, removeOtherTerms, type TermDirs } from './cluster-dirs.js';
import { pageinEnvironment } from './pagein-build.js';
import type { ReadRouter } from './read-router.js';
import { PostgresProcess } from './supervisor.js';
import type { TermContext } from './term-start.js';
import { untilStopped } from './until-stopped.js';

/** Patience for one page: longer than a storage node's restart, shorter than a person's. */
const PAGE_TIMEOUT_MS = 60_000;
/** Blocks of one request when a whole fork is read. */
const FORK_READ_BLOCKS = 1024;

type Step = () => Promise<void> | void;

/** Runs `start`, which notes how to undo each of its steps; when it fails they are undone, the last first, and its error is thrown. */
export async function undoing<T>(
  { log }: Pick<TermContext, 'log'>,
  start: (onFailure: (step: Step) => void) => Promise<T>,
): Promise<T> {
  const undo: Step[] = [];
  try {
    return await start((step) => undo.push(step));
  } catch (err) {
    for (const step of undo.reverse()) {
      try {
        await step();
      } catch (undoErr) {
        log.warn({ err: errorMessage(undoErr) }, 'after a failed start not everything could be undone');
      }
    }
    throw err;
  }
}

/** Runs a step that makes files; what the disk refuses is said in words. Throws COMPUTE_DISK, and as the step. */
export async function onDisk<T>({ dirs }: Pick<TermContext, 'dirs'>, step: () => T | Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    if (typeof (cause as NodeJS.ErrnoException).errno !== 'number') throw cause;
    throw new DbError(
      'COMPUTE_DISK',
      `could not make a data directory in "${dirs.root}": ${errnoWords(cause)}`,
      {
        reaction: 'usage',
        hint: 'It holds nothing that is not in the volume. Make room there, or let the account write to it; then start the compute again.',
        cause,
      },
    );
  }
}

/** New folders, removed when the start fails. Throws COMPUTE_DISK. */
export async function foldersOfStart(
  context: TermContext,
  onFailure: (step: Step) => void,
): Promise<TermDirs> {
  const dirs = await onDisk(context, () => newTermDirs(context.dirs));
  onFailure(() => rm(path.dirname(dirs.data), { recursive: true, force: true }));
  return dirs;
}

/** From now on these are the compute's folders; those of earlier lives go in the background. */
export function adoptFolders(dirs: TermDirs, { log }: Pick<TermContext, 'log'>): void {
  publishTerm(dirs);
  removeOtherTerms(dirs).catch((err: unknown) =>
    log.warn({ err: errorMessage(err) }, 'an old data directory could not be removed'),
  );
}

/** PostgreSQL with the page-in library, once it lets sessions in; ended when the start fails. Throws COMPUTE_PG_START, COMPUTE_STOPPED. */
export async function startPostgres(
  { install, pageinLibrary, config }: TermContext,
  dirs: TermDirs,
  settings: Record<string, string>,
  onFailure: (step: Step) => void,
  options: { walGate?: string; stop: AbortSignal | undefined },
): Promise<PostgresProcess> {
  const { walGate, stop } = options;
  const env = pageinEnvironment({
    library: pageinLibrary,
    dataDir: dirs.data,
    mapsDir: dirs.maps,
    agentSocket: dirs.agentSocket,
    ...(walGate === undefined ? {} : { walGate }),
    timeoutMs: PAGE_TIMEOUT_MS,
  });
  const logFile = config.postgresLog ?? dirs.postgresLog;
  const postgres = await PostgresProcess.start({ install, dataDir: dirs.data, settings, env, logFile }, stop);
  onFailure(() => postgres.kill());
  return postgres;
}

/** All blocks of a fork (an init fork has one, or none). Throws NODE_NONE_READABLE, COMPUTE_STOPPED. */
export async function readWholeFork(
  reader: ReadRouter,
  fork: RelationFork,
  lsn: Lsn,
  stop: AbortSignal | undefined,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let blkno = 0; blkno < fork.nblocks; blkno += FORK_READ_BLOCKS) {
    const count = Math.min(FORK_READ_BLOCKS, fork.nblocks - blkno);
    const read = reader.read('an init fork', (node) => node.getPages({ ...fork, blkno, count, lsn }));
    parts.push(await untilStopped(read, stop));
  }
  return Buffer.concat(parts);
}
