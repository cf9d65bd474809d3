import type { Logger } from 'pino';
import { errorMessage } from '../engine/errors.js';
import type { StorageClient } from '../net/storage-client.js';
import type { StorageLinks } from './storage-links.js';

const EVERY_MS = 2000;
const ANSWER_MS = 2000;

/**
 * Keeps a compute that writes nothing, and so hears of nothing, linked to those that hold the volume: asks a node that has just been connected, and one of
 * those connected every now and then, for the configuration that it holds. A writer hears sooner, with its acknowledgements.
 */
export class ConfigurationWatch {
  private readonly timer: NodeJS.Timeout;
  private turn = 0;

  constructor(
    private readonly links: StorageLinks,
    private readonly log: Logger,
  ) {
    links.on('up', this.onUp);
    this.timer = setInterval(() => {
      const connected = links.connected();
      const client = connected[this.turn++ % connected.length];
      if (client) void this.ask(client);
    }, EVERY_MS);
  }

  close(): void {
    clearInterval(this.timer);
    this.links.off('up', this.onUp);
  }

  private readonly onUp = (client: StorageClient): void => void this.ask(client);

  private async ask(client: StorageClient): Promise<void> {
    try {
      const { configuration } = await client.configuration(ANSWER_MS);
      if (configuration) this.links.follow(configuration);
    } catch (err) {
      this.log.debug(
        { node: client.nodeId, err: errorMessage(err) },
        'a node did not tell the configuration',
      );
    }
  }
}
