import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag, logFilePath } from '../src/cluster/command.js';
import { startOrUndo } from '../src/cluster/interrupt.js';
import { isDbError } from '../src/engine/errors.js';
import { terminalProgress } from '../src/cluster/progress.js';
import { parseServerOptions } from '../src/cluster/server-options.js';
import { reportingIngest } from '../src/cluster/start-progress.js';
import { stopCluster } from '../src/cluster/stop.js';
import { stopModeFlag } from './stop.js';

export default class Restart extends AuroraCommand {
  static override summary = 'Stop a cluster and start it again.';
  static override examples = ['<%= config.bin %> restart -D ./aurora-data'];
  static override flags = {
    ...clusterFlag,
    mode: stopModeFlag({ default: 'fast' }),
    port: Flags.integer({
      char: 'p',
      description: 'port to listen on from now on',
      helpValue: 'PORT',
      min: 1,
      max: 65535,
    }),
    timeout: Flags.integer({
      char: 't',
      description: 'seconds to wait for each step',
      default: 60,
      min: 1,
      helpValue: 'SECONDS',
    }),
    log: Flags.string({
      char: 'l',
      description: "write (or append) PostgreSQL's log to FILE",
      helpValue: 'FILE',
    }),
    silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
    options: Flags.string({
      char: 'o',
      description: 'settings for PostgreSQL, e.g. "-c work_mem=64MB"',
      helpValue: 'OPTIONS',
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Restart);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const root = this.requireCluster(flags.pgdata);
    const timeoutMs = flags.timeout * 1000;
    const settings = parseServerOptions(flags.options);
    const logFile = logFilePath(flags.log);
    try {
      await stopCluster({ root, mode: flags.mode, timeoutMs, wait: true, progress: say });
      say('server stopped');
    } catch (err) {
      if (!isDbError(err, 'CLUSTER_NOT_RUNNING')) throw err;
      say('server was not running; starting it anyway');
    }
    const options = {
      root,
      port: flags.port,
      timeoutMs,
      wait: true,
      logFile,
      settings,
      progress: say,
    };
    const start = (): ReturnType<typeof startOrUndo> => startOrUndo(options);
    const { port } = await reportingIngest(root, terminalProgress(say), start);
    say(`server started on port ${port}`);
  }
}
