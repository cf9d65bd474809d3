import { controlRequest } from '../src/cluster/control-client.js';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { clusterLayout } from '../src/cluster/layout.js';
import { runningPid } from '../src/cluster/daemon-process.js';
import { computeDaemonName } from '../src/cluster/start.js';
import { Manifest } from '../src/cluster/manifest.js';
import { controlSocketPath } from '../src/compute/control-path.js';

export default class Reload extends AuroraCommand {
  static override summary =
    'Store changed settings files in the volume and let PostgreSQL read them (SIGHUP).';
  static override flags = { ...clusterFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Reload);
    const layout = clusterLayout(this.requireCluster(flags.pgdata));
    const manifest = Manifest.open(layout);
    try {
      const { volume, computes } = manifest;
      // A replica that was stopped reads the files at its start; a primary that does not run is worth a word.
      const told = computes.filter(
        ({ name, role }) => role === 'primary' || runningPid(layout.run, computeDaemonName(name)) !== null,
      );
      for (const compute of told)
        await controlRequest(controlSocketPath(volume.socketDir, compute.name), 'POST', '/reload', 30_000);
      this.log('server signaled');
    } finally {
      manifest.close();
    }
  }
}
