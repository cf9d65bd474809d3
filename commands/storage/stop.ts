import path from 'node:path';
import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { isLoneNode, stopLoneNode } from '../../src/cluster/lone-node.js';
import { stopStorageNodes } from '../../src/cluster/storage-list.js';
import { DbError } from '../../src/engine/errors.js';

export default class StorageStop extends AuroraCommand {
  static override summary = 'Stop storage nodes: of a cluster, or one alone on this host.';
  static override description =
    'Commits go on as long as a write quorum of nodes runs; without an ID all of the cluster are stopped.';
  static override examples = [
    '<%= config.bin %> storage stop 2 -D ./aurora-data',
    '<%= config.bin %> storage stop -D ./node4',
  ];
  static override args = { id: Args.string({ description: "name of a cluster's storage node" }) };
  static override flags = {
    ...clusterFlag,
    timeout: Flags.integer({
      char: 't',
      description: 'seconds to wait',
      default: 60,
      min: 1,
      helpValue: 'SECONDS',
    }),
    silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(StorageStop);
    const dir = this.requireCluster(flags.pgdata);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const stopped = isLoneNode(dir)
      ? await stopLoneNode(path.resolve(dir), flags.timeout * 1000)
      : (await stopStorageNodes(dir, args.id, flags.timeout * 1000, say)).length > 0;
    if (!stopped) throw new DbError('CLUSTER_NOT_RUNNING', 'no storage node to stop is running');
    say('storage node stopped');
  }
}
