import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag, logFilePath } from '../src/cluster/command.js';
import { startOrUndo } from '../src/cluster/interrupt.js';
import { terminalProgress } from '../src/cluster/progress.js';
import { parseServerOptions } from '../src/cluster/server-options.js';
import { reportingIngest } from '../src/cluster/start-progress.js';

export default class Start extends AuroraCommand {
  static override summary = 'Start a cluster: its storage nodes and its primary compute.';
  static override examples = [
    '<%= config.bin %> start -D ./aurora-data',
    '<%= config.bin %> start -D ./aurora-data -p 5433 -l server.log',
  ];
  static override flags = {
    ...clusterFlag,
    port: Flags.integer({
      char: 'p',
      description: 'port to listen on from now on',
      helpValue: 'PORT',
      min: 1,
      max: 65535,
    }),
    wait: Flags.boolean({
      char: 'w',
      description: 'wait until the server accepts connections (the default)',
      allowNo: true,
      default: true,
    }),
    'dont-wait': Flags.boolean({ char: 'W', description: 'do not wait' }),
    timeout: Flags.integer({
      char: 't',
      description: 'seconds to wait',
      default: 60,
      min: 1,
      helpValue: 'SECONDS',
    }),
    log: Flags.string({
      char: 'l',
      description: "write (or append) PostgreSQL's log to FILE",
      helpValue: 'FILE',
    }),
    username: Flags.string({
      char: 'U',
      description: "the superuser's name, if it was renamed",
      helpValue: 'NAME',
    }),
    silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
    'redo-verify': Flags.boolean({
      description:
        "from now on, storage nodes compare each page that they replay with PostgreSQL's image of it and stop at a difference; a test of OpenAurora, and slow",
      allowNo: true,
    }),
    options: Flags.string({
      char: 'o',
      description: 'settings for PostgreSQL, e.g. "-c work_mem=64MB"',
      helpValue: 'OPTIONS',
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Start);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const root = this.requireCluster(flags.pgdata);
    const options = {
      root,
      port: flags.port,
      superuser: flags.username,
      timeoutMs: flags.timeout * 1000,
      wait: flags.wait && !flags['dont-wait'],
      logFile: logFilePath(flags.log),
      settings: parseServerOptions(flags.options),
      redoVerify: flags['redo-verify'],
      progress: say,
    };
    const start = (): ReturnType<typeof startOrUndo> => startOrUndo(options);
    const { port } = await reportingIngest(root, terminalProgress(say), start);
    say(flags.wait && !flags['dont-wait'] ? `server started on port ${port}` : 'server starting');
  }
}
