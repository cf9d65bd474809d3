import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { volumeText } from '../../src/inspect/volume-print.js';
import { volumeReport, type VolumeReport } from '../../src/inspect/volume-report.js';

export default class InspectVolume extends AuroraCommand {
  static override summary = "Show a volume's storage nodes: log, pages, history, room.";
  static override description = `For each node: the log that it has and the epochs that wrote it, how far its pages are and from which LSN on they can be read (the horizon), retention, who
holds history, the room taken and left, and, where its folder is on this machine, the files of its log.`;
  static override examples = [
    '<%= config.bin %> inspect volume -D ./aurora-data',
    '<%= config.bin %> inspect volume --node 2 --json',
  ];
  static override enableJsonFlag = true;
  static override flags = {
    ...clusterFlag,
    node: Flags.string({ description: 'only this storage node', helpValue: 'N' }),
  };

  async run(): Promise<VolumeReport> {
    const { flags } = await this.parse(InspectVolume);
    const report = await volumeReport(this.requireCluster(flags.pgdata), flags.node);
    this.log(volumeText(report, process.stdout.columns || 80));
    return report;
  }
}
