import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { chooseLogs, logFiles, readLogs } from '../src/cluster/log-files.js';
import { logJson, logText } from '../src/cluster/log-print.js';
import { outputWriter, untilInterrupted } from '../src/inspect/flags.js';

export default class Logs extends AuroraCommand {
  static override summary = "Show what a cluster's processes have logged.";
  static override description = `The last lines of each log, by time: of the storage nodes, of the compute's daemon, and of PostgreSQL. NAME is storage-1, compute-primary,
postgresql-primary, or storage, compute, postgresql for all of a kind; more may follow. The daemons log JSON, which is shown in a readable form; --json gives
it as it is, with "log" added. With --follow new lines come as they are written; a log that is rotated is followed into its new file.`;
  static override examples = [
    '<%= config.bin %> logs -D ./aurora-data',
    '<%= config.bin %> logs --follow postgresql',
    '<%= config.bin %> logs storage -n 1000 --json',
  ];
  static override strict = false;
  static override args = { name: Args.string({ ignoreStdin: true, description: 'only this log' }) };
  static override flags = {
    ...clusterFlag,
    follow: Flags.boolean({ char: 'f', description: 'go on with what is written' }),
    lines: Flags.integer({
      char: 'n',
      description: 'last lines of each log',
      default: 20,
      min: 0,
      helpValue: 'N',
    }),
    json: Flags.boolean({ description: 'one JSON object a line' }),
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Logs);
    const logs = chooseLogs(logFiles(this.requireCluster(flags.pgdata)), this.words(argv));
    const width = Math.max(...logs.map(({ name }) => name.length));
    const write = outputWriter(process.stdout);
    await untilInterrupted((signal) =>
      readLogs(logs, {
        count: flags.lines,
        follow: flags.follow,
        signal,
        show: (lines) =>
          lines.length === 0
            ? Promise.resolve(true)
            : write(
                `${lines.map((line) => (flags.json ? logJson(line) : logText(line, width))).join('\n')}\n`,
              ),
      }),
    );
  }
}
