import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { computeNameArg } from '../../src/cluster/compute-flags.js';
import { computeTable } from '../../src/cluster/compute-table.js';
import { askCacheHits } from '../../src/cluster/server-counters.js';
import { clusterStatus, type ComputeReport } from '../../src/cluster/status.js';
import { DbError } from '../../src/engine/errors.js';

/** As pg_ctl status: the server does not run. */
const EXIT_NOT_RUNNING = 3;

export default class ComputeStatus extends AuroraCommand {
  static override summary = 'Show whether one compute runs, its role and how far behind it is.';
  static override description = 'Exit status: 0 running, 3 not running.';
  static override examples = ['<%= config.bin %> compute status reader1 -D ./aurora-data --json'];
  static override enableJsonFlag = true;
  static override args = computeNameArg;
  static override flags = clusterFlag;

  async run(): Promise<ComputeReport> {
    const { args, flags } = await this.parse(ComputeStatus);
    const cluster = await clusterStatus(this.requireCluster(flags.pgdata));
    const { computes } = cluster;
    const report = computes.find((compute) => compute.name === args.name);
    if (!report)
      throw new DbError('CLUSTER_NO_COMPUTE', `there is no compute "${args.name}"`, {
        hint: `There are: ${computes.map((c) => c.name).join(', ')}`,
      });
    await askCacheHits(cluster, [report]);
    this.log(computeTable([report]));
    if (report.problem) this.log(report.problem);
    process.exitCode = report.pid === null ? EXIT_NOT_RUNNING : 0;
    return report;
  }
}
