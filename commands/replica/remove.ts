import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { computeNameArg, silentFlag, timeoutFlag } from '../../src/cluster/compute-flags.js';
import { removeReplica } from '../../src/cluster/replicas.js';
import { stopModeFlag } from '../stop.js';

export default class ReplicaRemove extends AuroraCommand {
  static override summary = 'Stop a read replica and remove it from the cluster.';
  static override examples = ['<%= config.bin %> replica remove reader1 -D ./aurora-data'];
  static override args = computeNameArg;
  static override flags = {
    ...clusterFlag,
    mode: stopModeFlag({ default: 'fast' }),
    ...timeoutFlag,
    ...silentFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ReplicaRemove);
    await removeReplica({
      root: this.requireCluster(flags.pgdata),
      name: args.name,
      mode: flags.mode,
      timeoutMs: flags.timeout * 1000,
    });
    if (!flags.silent) this.log(`replica "${args.name}" removed`);
  }
}
