import { renameSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import pino from 'pino';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { daemonLog } from '../net/daemon-log.js';
import { writeOwnPid } from '../net/pid-file.js';
import { loadStorageConfig } from './config.js';
import { StorageDaemon } from './daemon.js';

/** Lines kept for a log that cannot be written at present. */
const LOG_BACKLOG_BYTES = 1024 * 1024;

/**
 * The storage node's process: one argument, its configuration file (see config.ts).
 *
 *   exit 0  stopped in order, after SIGTERM or SIGINT
 *   exit 1  could not start: a used port, another process on the folder, an unreadable folder; one line on standard error
 *   exit 2  a wrong argument, configuration or secret file; one line on standard error
 *   exit 70 a broken invariant while running; start it again
 *
 * It serves once it has sent {type: 'ready', pid, port} to its parent (when forked with an IPC channel) and written the same to `readyFile`;
 * a failed start is told as {type: 'failed', code, message, hint}.
 */
export async function run(args: readonly string[]): Promise<number> {
  // From the start: whoever hears that we are ready may end us in the same moment.
  const signal = new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  process.on('SIGHUP', () => undefined); // a terminal that goes away does not end a node
  process.umask(0o077); // the volume's bytes are for this account only
  let daemon: StorageDaemon;
  let logger: pino.Logger | undefined;
  try {
    writeOwnPid();
    if (args.length !== 1)
      throw new DbError('USAGE_ARGUMENTS', 'one argument expected: the configuration file');
    const config = loadStorageConfig(args[0]!);
    const destination = pino.destination({
      dest: config.logFile === '-' ? 1 : config.logFile,
      sync: true, // few lines, and none may be missing after a crash
      mkdir: true,
      maxLength: LOG_BACKLOG_BYTES,
    });
    // A disk without room for a line of the log is no reason to end: the line is left out, or written with the next one.
    destination.on('error', () => undefined);
    logger = daemonLog('storage', config.logLevel, { node: config.nodeId }, destination);
    daemon = await StorageDaemon.start(config, logger);
    notifyReady(config.readyFile, daemon.port);
  } catch (err) {
    logger?.fatal({ err }, `cannot start: ${errorMessage(err)}`);
    process.stderr.write(
      `storage node: ${errorMessage(err)}${isDbError(err) && err.hint ? `. ${err.hint}` : ''}\n`,
    );
    const code = isDbError(err) ? err.code : 'INTERNAL';
    await notifyFailed({
      type: 'failed',
      code,
      message: errorMessage(err),
      hint: isDbError(err) ? err.hint : undefined,
    });
    return code.startsWith('USAGE_') ? 2 : 1;
  }
  try {
    logger.info(`stopping on ${await Promise.race([signal, daemon.failure])}`);
    await daemon.stop();
    return 0;
  } catch (err) {
    logger.fatal({ err }, `storage node failed: ${errorMessage(err)}`);
    return 70;
  }
}

/** Returns when the parent has it, or when there is none. */
async function notifyFailed(message: object): Promise<void> {
  if (process.connected) await new Promise<void>((resolve) => process.send!(message, () => resolve()));
}

function notifyReady(readyFile: string, port: number): void {
  const ready = { type: 'ready', pid: process.pid, port };
  if (readyFile !== '') {
    writeFileSync(`${readyFile}.tmp`, `${JSON.stringify(ready)}\n`, { mode: 0o600 });
    renameSync(`${readyFile}.tmp`, readyFile);
  }
  process.send?.(ready);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  void run(process.argv.slice(2)).then((status) => process.exit(status));
