import { Args } from '@oclif/core';
import { AuroraCommand } from '../../src/cluster/command.js';
import { removeStorageNode, type ChangeResult } from '../../src/cluster/membership-change.js';
import { changeFlags, deleteDataFlag } from '../../src/cluster/storage-flags.js';

export default class StorageRemove extends AuroraCommand {
  static override summary = 'Remove a storage node from a running cluster.';
  static override description =
    'The others take over what it held before it is stopped. Run it again when it was interrupted: it goes on.';
  static override examples = ['<%= config.bin %> storage remove 2 -D ./aurora-data --delete-data'];
  static override enableJsonFlag = true;
  static override args = { id: Args.string({ description: 'name of the node', required: true }) };
  static override flags = { ...changeFlags, ...deleteDataFlag };

  async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(StorageRemove);
    const result = await removeStorageNode({
      root: this.requireCluster(flags.pgdata),
      id: args.id,
      deleteData: flags['delete-data'],
      timeoutMs: flags.timeout * 1000,
      force: flags.force,
      progress: flags.silent ? undefined : (line) => this.log(line),
    });
    if (!flags.silent) this.log(`storage node ${result.id} removed: ${result.copies} copies`);
    return result;
  }
}
