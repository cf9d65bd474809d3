import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { leasesText } from '../../src/inspect/volume-print.js';
import { volumeReport, type LeaseReport } from '../../src/inspect/volume-report.js';

export default class InspectLeases extends AuroraCommand {
  static override summary = 'Show who holds history, and how much.';
  static override description = `Computes, and tools that work for long, hold leases on history at each storage node: it keeps the log and the page versions that a read at or
after the lease's LSN needs. A lease that is not renewed runs out.`;
  static override examples = [
    '<%= config.bin %> inspect leases -D ./aurora-data',
    '<%= config.bin %> inspect leases --node 2 --json',
  ];
  static override enableJsonFlag = true;
  static override flags = {
    ...clusterFlag,
    node: Flags.string({ description: 'only this storage node', helpValue: 'N' }),
  };

  async run(): Promise<{ leases: LeaseReport[] }> {
    const { flags } = await this.parse(InspectLeases);
    const report = await volumeReport(this.requireCluster(flags.pgdata), flags.node);
    this.log(leasesText(report, process.stdout.columns || 80));
    return { leases: report.nodes.flatMap((node) => node.leases) };
  }
}
