import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { controlData, controlDataText, type ControlData } from '../src/inspect/control-data.js';

export default class Controldata extends AuroraCommand {
  static override summary = "Print a volume's control data: epoch, LSNs, the last checkpoint.";
  static override description = `First what the volume is and how far it is, then what pg_controldata says of a cluster, in its layout: the values of the last checkpoint in the
log, and the parameters last logged. The volume keeps these by LSN; PostgreSQL's own pg_control is made from them at each start. While the
cluster is stopped, they are read from the folder of the storage node that has applied most.`;
  static override examples = [
    '<%= config.bin %> controldata -D ./aurora-data',
    '<%= config.bin %> controldata --json',
  ];
  static override enableJsonFlag = true;
  static override flags = { ...clusterFlag };

  async run(): Promise<ControlData> {
    const { flags } = await this.parse(Controldata);
    const found = await controlData(this.requireCluster(flags.pgdata));
    this.log(controlDataText(found));
    return found.data;
  }
}
