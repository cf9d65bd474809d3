import { controlRequest } from '../src/cluster/control-client.js';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { clusterLayout } from '../src/cluster/layout.js';
import { Manifest } from '../src/cluster/manifest.js';
import { controlSocketPath } from '../src/compute/control-path.js';

export default class Reload extends AuroraCommand {
  static override summary =
    'Store changed settings files in the volume and let PostgreSQL read them (SIGHUP).';
  static override flags = { ...clusterFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Reload);
    const manifest = Manifest.open(clusterLayout(this.requireCluster(flags.pgdata)));
    try {
      const { volume, computes } = manifest;
      for (const compute of computes)
        await controlRequest(controlSocketPath(volume.socketDir, compute.name), 'POST', '/reload', 30_000);
      this.log('server signaled');
    } finally {
      manifest.close();
    }
  }
}
