/**
 * Entry point of the compute daemon: main.js CONFIG.json. Logs JSON lines to standard output. Tells its parent over the IPC channel, when there is
 * one, that it is ready or why it is not. SIGTERM and SIGINT stop PostgreSQL in its fast way, SIGQUIT at once, SIGHUP reloads.
 *
 * Exit status: 0 stopped, 1 could not start or go on, 3 fenced by another writer.
 */
import { pathToFileURL } from 'node:url';
import { DbError, errorMessage } from '../engine/errors.js';
import { daemonLog } from '../net/daemon-log.js';
import { writeOwnPid } from '../net/pid-file.js';
import { loadComputeConfig } from './config.js';
import { ComputeDaemon } from './daemon.js';

const EXIT_FAILED = 1;
const EXIT_FENCED = 3;

/** Runs until it is stopped; gives the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  process.umask(0o022); // PostgreSQL's account must read some of it; nobody else writes
  const log = daemonLog('compute', process.env['AURORA_LOG_LEVEL'] ?? 'info', {});
  try {
    writeOwnPid();
    const config = loadComputeConfig(args[0] ?? '');
    log.level = config.logLevel;
    const daemon = await ComputeDaemon.create(config, log);
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => daemon.stop('fast'));
    process.on('SIGQUIT', () => daemon.stop('immediate'));
    process.on('SIGHUP', () => {
      daemon.reload().catch((err: unknown) => log.error({ err: errorMessage(err) }, 'reload failed'));
    });
    await daemon.run(() => void tell({ type: 'ready', pid: process.pid }));
    log.info('stopped');
    return 0;
  } catch (err) {
    const code = err instanceof DbError ? err.code : 'INTERNAL';
    log.fatal({ code, stack: err instanceof DbError ? undefined : (err as Error).stack }, errorMessage(err));
    await tell({
      type: 'failed',
      code,
      message: errorMessage(err),
      hint: err instanceof DbError ? err.hint : undefined,
    });
    return code === 'EPOCH_FENCED' ? EXIT_FENCED : EXIT_FAILED;
  }
}

/** The starter may have gone (start --no-wait): then nobody listens, which is no failure. */
async function tell(message: object): Promise<void> {
  if (process.connected) await new Promise<void>((resolve) => process.send!(message, () => resolve()));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  void run(process.argv.slice(2)).then((status) => {
    if (process.connected) process.disconnect();
    process.exit(status);
  });
