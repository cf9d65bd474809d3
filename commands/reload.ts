import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { reloadComputes } from '../src/cluster/reload.js';

export default class Reload extends AuroraCommand {
  static override summary =
    'Store changed settings files in the volume and let PostgreSQL read them (SIGHUP).';
  static override description =
    "Replicas that run get the volume's files, and read them as well; what takes effect at a start only waits for their next one.";
  static override flags = { ...clusterFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Reload);
    await reloadComputes(this.requireCluster(flags.pgdata), (line) => this.note(line));
    this.log('server signaled');
  }
}
