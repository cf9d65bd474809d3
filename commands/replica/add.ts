import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import {
  computeNameArg,
  DEFAULT_FAILOVER_PRIORITY,
  replicaFlags,
  silentFlag,
  timeoutFlag,
} from '../../src/cluster/compute-flags.js';
import { endingNewDaemons } from '../../src/cluster/interrupt.js';
import { addReplica } from '../../src/cluster/replicas.js';
import { parseServerOptions } from '../../src/cluster/server-options.js';

export default class ReplicaAdd extends AuroraCommand {
  static override summary = 'Add a read replica to a cluster and start it.';
  static override description = `A replica is a PostgreSQL hot standby whose pages and whose log both come from the storage nodes: nothing is copied to make one, whatever the
size of the database, and the primary has no part in it beyond a checkpoint when the last one is old. It follows the primary within milliseconds and
takes queries that only read. Vacuum on the primary leaves the rows that its queries see.

When the primary is gone, the replica with the highest --failover-priority that runs becomes the primary by itself, unless it was added with --no-failover.`;
  static override examples = [
    '<%= config.bin %> replica add reader1 -D ./aurora-data',
    '<%= config.bin %> replica add reporting -D ./aurora-data -p 5440 --no-failover -o "-c max_parallel_workers_per_gather=4"',
  ];
  static override args = computeNameArg;
  static override flags = {
    ...clusterFlag,
    ...replicaFlags,
    start: Flags.boolean({ description: 'start it now (the default)', allowNo: true, default: true }),
    options: Flags.string({
      char: 'o',
      description: 'settings for its PostgreSQL, e.g. "-c work_mem=64MB"',
      helpValue: 'OPTIONS',
    }),
    ...timeoutFlag,
    ...silentFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ReplicaAdd);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const options = {
      root: this.requireCluster(flags.pgdata),
      name: args.name,
      port: flags.port,
      failover: flags.failover ?? true,
      priority: flags['failover-priority'] ?? DEFAULT_FAILOVER_PRIORITY,
      settings: parseServerOptions(flags.options),
      start: flags.start,
      timeoutMs: flags.timeout * 1000,
      progress: say,
    };
    const { port, pid } = await endingNewDaemons(options.root, (hooks) => addReplica({ ...options, hooks }));
    say(
      pid === null
        ? `replica "${args.name}" added on port ${port}`
        : `replica "${args.name}" started on port ${port}`,
    );
  }
}
