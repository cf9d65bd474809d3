import { spawn } from 'node:child_process';
import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { stopCluster, type StopMode } from '../src/cluster/stop.js';

/** smart, fast, immediate, or their first letters, as pg_ctl takes them. */
export const stopModeFlag = Flags.custom<StopMode>({
  char: 'm',
  description:
    'smart (wait for sessions to end), fast (end sessions, write out statistics), immediate (just stop)',
  helpValue: 'MODE',
  parse: async (input) => {
    const modes: Record<string, StopMode> = {
      s: 'smart',
      f: 'fast',
      i: 'immediate',
      smart: 'smart',
      fast: 'fast',
      immediate: 'immediate',
    };
    const mode = modes[input];
    if (!mode) throw new Error(`unrecognized shutdown mode "${input}"`);
    return mode;
  },
});

export default class Stop extends AuroraCommand {
  static override summary = 'Stop a cluster: its compute, then its storage nodes.';
  static override examples = [
    '<%= config.bin %> stop -D ./aurora-data',
    '<%= config.bin %> stop -D ./aurora-data -m immediate',
  ];
  static override flags = {
    ...clusterFlag,
    mode: stopModeFlag({ default: 'fast' }),
    wait: Flags.boolean({
      char: 'w',
      description: 'wait until everything has stopped (the default)',
      allowNo: true,
      default: true,
    }),
    timeout: Flags.integer({
      char: 't',
      description: 'seconds to wait',
      default: 60,
      min: 1,
      helpValue: 'SECONDS',
    }),
    silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Stop);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const root = this.requireCluster(flags.pgdata);
    await stopCluster({
      root,
      mode: flags.mode,
      timeoutMs: flags.timeout * 1000,
      wait: flags.wait,
      progress: say,
    });
    if (flags.wait) return say('server stopped');
    // The storage nodes must outlive the compute: somebody has to stay and end them after it.
    const args = [process.argv[1]!, 'stop', '-D', root, '-m', flags.mode, '-t', String(flags.timeout)];
    spawn(process.execPath, args, { detached: true, stdio: 'ignore' }).unref();
    say('server shutting down');
  }
}
