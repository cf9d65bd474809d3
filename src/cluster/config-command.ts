import type pg from 'pg';
import { clientFlags, connectWith } from './client-flags.js';
import { AuroraCommand, clusterFlag } from './command.js';
import { defaultServer } from './default-server.js';
import { changeSettings, type SettingChange } from './pg-config.js';
import { reloadReplicas } from './reload.js';

/** -D, and how to connect: what every `aurora config` command takes. */
export const configFlags = { ...clusterFlag, ...clientFlags };

/** What the `aurora config` commands share: a session with the primary. */
export abstract class ConfigCommand extends AuroraCommand {
  static override enableJsonFlag = true;

  protected async inSession<T>(
    flags: Parameters<typeof connectWith>[0],
    use: (client: pg.Client) => Promise<T>,
  ): Promise<T> {
    const client = await connectWith(flags, 'postgres', 'aurora config');
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  }

  /** Changes settings on the primary; replicas of the cluster named by -D or AURORA_HOME, if it is that one, take them as well. */
  protected async change(
    flags: Parameters<typeof connectWith>[0],
    changes: readonly SettingChange[],
  ): Promise<{ restart: string[] }> {
    const { restart, lsn, where } = await this.inSession(flags, async (client) => ({
      ...(await changeSettings(client, changes)),
      where: { host: client.host, port: client.port },
    }));
    const root = flags.pgdata ?? process.env['AURORA_HOME'];
    const ours = defaultServer(root);
    if (root && ours?.host === where.host && ours.port === where.port)
      await reloadReplicas(root, lsn, (line) => this.note(line));
    if (restart.length > 0) this.log(`a restart is needed for ${restart.join(', ')}: aurora restart`);
    return { restart };
  }
}
