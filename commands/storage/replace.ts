import { Args } from '@oclif/core';
import { AuroraCommand } from '../../src/cluster/command.js';
import { replaceStorageNode, type ChangeResult } from '../../src/cluster/membership-change.js';
import { addressOf, changeFlags, deleteDataFlag, newNodeFlags } from '../../src/cluster/storage-flags.js';

export default class StorageReplace extends AuroraCommand {
  static override summary = 'Replace a storage node, which may be dead, by a new one.';
  static override description =
    'The new node is added and rebuilt from the others, then the old one is removed. Run it again when it was interrupted: it goes on.';
  static override examples = [
    '<%= config.bin %> storage replace 2 -D ./aurora-data',
    '<%= config.bin %> storage replace 2 4 --at 10.0.0.4:5440',
  ];
  static override enableJsonFlag = true;
  static override args = {
    id: Args.string({ description: 'name of the node to replace', required: true }),
    newid: Args.string({ description: 'name of the new node; auto: the next number', default: 'auto' }),
  };
  static override flags = { ...changeFlags, ...newNodeFlags, ...deleteDataFlag };

  async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(StorageReplace);
    const result = await replaceStorageNode({
      root: this.requireCluster(flags.pgdata),
      old: args.id,
      id: args.newid,
      zone: flags.zone,
      at: flags.at === undefined ? undefined : addressOf(flags.at),
      deleteData: flags['delete-data'],
      timeoutMs: flags.timeout * 1000,
      force: flags.force,
      progress: flags.silent ? undefined : (line) => this.log(line),
    });
    if (!flags.silent) this.log(`storage node ${args.id} replaced by ${result.id}`);
    return result;
  }
}
