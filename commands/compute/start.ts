import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { computeNameArg, silentFlag, timeoutFlag } from '../../src/cluster/compute-flags.js';
import { endingNewDaemons } from '../../src/cluster/interrupt.js';
import { startComputeNamed } from '../../src/cluster/replicas.js';
import { parseServerOptions } from '../../src/cluster/server-options.js';

export default class ComputeStart extends AuroraCommand {
  static override summary = 'Start one compute of a cluster that runs: its primary, or a replica.';
  static override description =
    'A former primary that a replica has followed meanwhile comes back as a replica. "aurora start" starts all that does not run.';
  static override examples = ['<%= config.bin %> compute start reader1 -D ./aurora-data'];
  static override args = computeNameArg;
  static override flags = {
    ...clusterFlag,
    options: Flags.string({
      char: 'o',
      description: 'settings for PostgreSQL, for this start only',
      helpValue: 'OPTIONS',
    }),
    ...timeoutFlag,
    ...silentFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ComputeStart);
    const options = {
      root: this.requireCluster(flags.pgdata),
      name: args.name,
      timeoutMs: flags.timeout * 1000,
      settings: parseServerOptions(flags.options),
    };
    const { port } = await endingNewDaemons(options.root, () => startComputeNamed(options));
    if (!flags.silent) this.log(`compute "${args.name}" started on port ${port}`);
  }
}
