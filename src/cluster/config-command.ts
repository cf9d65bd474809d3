import type pg from 'pg';
import { sessionOptions, UNHINDERED } from '../compute/session-settings.js';
import { clientFlags, connectWith } from './client-flags.js';
import { AuroraCommand, clusterFlag } from './command.js';
import { defaultServer } from './default-server.js';
import { changeSettings, type SettingChange } from './pg-config.js';
import { reloadReplicas } from './reload.js';

/** -D, and how to connect: what every `aurora config` command takes. */
export const configFlags = { ...clusterFlag, ...clientFlags };

type Where = Pick<pg.Client, 'host' | 'port'>;

/** What the `aurora config` commands share: a session with the primary. */
export abstract class ConfigCommand extends AuroraCommand {
  static override enableJsonFlag = true;

  protected async inSession<T>(
    flags: Parameters<typeof connectWith>[0],
    use: (client: pg.Client) => Promise<T>,
    options?: string,
  ): Promise<T> {
    const client = await connectWith(flags, 'postgres', 'aurora config', options);
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
    const change = async (client: pg.Client): Promise<{ restart: string[]; lsn: string; where: Where }> => ({
      ...(await changeSettings(client, changes)),
      where: { host: client.host, port: client.port },
    });
    // Also what keeps every other session from its work can be taken back.
    const { restart, lsn, where } = await this.inSession(flags, change, sessionOptions(UNHINDERED));
    const root = flags.pgdata ?? process.env['AURORA_HOME'];
    const ours = defaultServer(root);
    if (root && ours?.host === where.host && ours.port === where.port)
      await reloadReplicas(root, lsn, (line) => this.note(line));
    if (restart.length > 0) this.log(`a restart is needed for ${restart.join(', ')}: aurora restart`);
    return { restart };
  }
}
