import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { computeNameArg, silentFlag, timeoutFlag } from '../../src/cluster/compute-flags.js';
import { stopComputeNamed } from '../../src/cluster/replicas.js';
import { stopModeFlag } from '../stop.js';

export default class ComputeStop extends AuroraCommand {
  static override summary = 'Stop one compute of a cluster; the rest goes on.';
  static override description =
    'A primary that is stopped like this is followed by no replica: start it again, or promote one.';
  static override examples = ['<%= config.bin %> compute stop reader1 -D ./aurora-data'];
  static override args = computeNameArg;
  static override flags = {
    ...clusterFlag,
    mode: stopModeFlag({ default: 'fast' }),
    ...timeoutFlag,
    ...silentFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ComputeStop);
    await stopComputeNamed({
      root: this.requireCluster(flags.pgdata),
      name: args.name,
      mode: flags.mode,
      timeoutMs: flags.timeout * 1000,
    });
    if (!flags.silent) this.log(`compute "${args.name}" stopped`);
  }
}
