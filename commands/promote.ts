import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { computeNameArg, silentFlag, timeoutFlag } from '../src/cluster/compute-flags.js';
import { promote } from '../src/cluster/promote.js';

export default class Promote extends AuroraCommand {
  static override summary = 'Make a read replica the primary.';
  static override description = `While the primary runs, this is a switchover: it stops in order, the replica becomes the primary, and the former primary its replica. Nothing that was
acknowledged is lost, and no checkpoint or copy is waited for. Sessions of both end; clients that connect with all endpoints (aurora status --dsn) find the new primary.
A replica that ends before it has taken over leaves the former primary as the primary again.

When the primary is gone or does not answer, or with --force, the replica takes over at once. The former primary can write nothing from then on, wherever it is: its
epoch is over.`;
  static override examples = [
    '<%= config.bin %> promote reader1 -D ./aurora-data',
    '<%= config.bin %> promote reader1 -D ./aurora-data --force',
  ];
  static override args = computeNameArg;
  static override flags = {
    ...clusterFlag,
    force: Flags.boolean({ description: 'take over without asking the present primary to stop' }),
    ...timeoutFlag,
    ...silentFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Promote);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const { port, tookMs } = await promote({
      root: this.requireCluster(flags.pgdata),
      name: args.name,
      force: flags.force,
      timeoutMs: flags.timeout * 1000,
      progress: say,
    });
    say(`compute "${args.name}" is the primary on port ${port} (after ${(tookMs / 1000).toFixed(1)} s)`);
  }
}
