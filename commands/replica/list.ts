import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { computeTable } from '../../src/cluster/compute-table.js';
import { askCacheHits } from '../../src/cluster/server-counters.js';
import { clusterStatus, type ComputeReport } from '../../src/cluster/status.js';

export default class ReplicaList extends AuroraCommand {
  static override summary = 'List the read replicas of a cluster, and how far behind they are.';
  static override examples = [
    '<%= config.bin %> replica list -D ./aurora-data',
    '<%= config.bin %> replica list -D ./aurora-data --json',
  ];
  static override enableJsonFlag = true;
  static override flags = clusterFlag;

  async run(): Promise<ComputeReport[]> {
    const { flags } = await this.parse(ReplicaList);
    const cluster = await clusterStatus(this.requireCluster(flags.pgdata));
    const replicas = cluster.computes.filter((compute) => compute.role === 'replica');
    await askCacheHits(cluster, replicas);
    this.log(replicas.length === 0 ? 'no replicas' : computeTable(replicas));
    return replicas;
  }
}
