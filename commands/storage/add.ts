import { Args } from '@oclif/core';
import { AuroraCommand } from '../../src/cluster/command.js';
import { addStorageNode, type ChangeResult } from '../../src/cluster/membership-change.js';
import { addressOf, changeFlags, newNodeFlags } from '../../src/cluster/storage-flags.js';

export default class StorageAdd extends AuroraCommand {
  static override summary = 'Add a storage node to a running cluster.';
  static override description =
    'The node is rebuilt from the others while clients work, and then gets its vote. Run it again when it was interrupted: it goes on.';
  static override examples = [
    '<%= config.bin %> storage add -D ./aurora-data',
    '<%= config.bin %> storage add 7 --zone b',
    '<%= config.bin %> storage add 4 --at 10.0.0.4:5440',
  ];
  static override enableJsonFlag = true;
  static override args = {
    id: Args.string({ description: 'name of the new node; auto: the next number', default: 'auto' }),
  };
  static override flags = { ...changeFlags, ...newNodeFlags };

  async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(StorageAdd);
    const result = await addStorageNode({
      root: this.requireCluster(flags.pgdata),
      id: args.id,
      zone: flags.zone,
      at: flags.at === undefined ? undefined : addressOf(flags.at),
      timeoutMs: flags.timeout * 1000,
      force: flags.force,
      progress: flags.silent ? undefined : (line) => this.log(line),
    });
    if (!flags.silent) this.log(`storage node ${result.id} added: ${result.copies} copies`);
    return result;
  }
}
