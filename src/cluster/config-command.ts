import type pg from 'pg';
import { clientFlags, connectWith } from './client-flags.js';
import { AuroraCommand, clusterFlag } from './command.js';

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
}
