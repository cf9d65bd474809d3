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
import { addReplica, hasCompute, startComputeNamed } from '../../src/cluster/replicas.js';
import { parseServerOptions } from '../../src/cluster/server-options.js';
import { DbError } from '../../src/engine/errors.js';

export default class ComputeStart extends AuroraCommand {
  static override summary = 'Start one compute of a cluster that runs: its primary, or a replica.';
  static override description = `A former primary that a replica has followed meanwhile comes back as a replica. "aurora start" starts all that does not run.

With --role replica a compute that does not exist yet is made first, as "aurora replica add" does: nothing is copied for it.`;
  static override examples = [
    '<%= config.bin %> compute start reader1 -D ./aurora-data',
    '<%= config.bin %> compute start reader2 --role replica -p 5434 -D ./aurora-data',
  ];
  static override args = computeNameArg;
  static override flags = {
    ...clusterFlag,
    role: Flags.option({
      options: ['primary', 'replica'] as const,
      description: 'refuse to start anything else; a replica is made when there is none of that name',
      helpValue: 'primary|replica',
    })(),
    ...replicaFlags,
    options: Flags.string({
      char: 'o',
      description: 'settings for PostgreSQL, for this start only; a new replica keeps them',
      helpValue: 'OPTIONS',
    }),
    ...timeoutFlag,
    ...silentFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ComputeStart);
    const { name } = args;
    const options = {
      root: this.requireCluster(flags.pgdata),
      name,
      timeoutMs: flags.timeout * 1000,
      settings: parseServerOptions(flags.options),
    };
    const { port, failover, 'failover-priority': priority } = flags;
    const isNew = flags.role === 'replica' && !(await hasCompute(options.root, name));
    if (!isNew && (port !== undefined || failover !== undefined || priority !== undefined))
      throw new DbError(
        'USAGE_NEW_REPLICA',
        `-p, --failover and --failover-priority are for a new replica, and "${name}" is not one`,
        {
          hint:
            flags.role === 'replica'
              ? `Remove it and add it again: aurora replica remove ${name}`
              : 'Use --role replica to make one.',
        },
      );
    const progress = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    const compute = await endingNewDaemons<{ port: number }>(options.root, (hooks) =>
      isNew
        ? addReplica({
            ...options,
            port,
            failover: failover ?? true,
            priority: priority ?? DEFAULT_FAILOVER_PRIORITY,
            start: true,
            progress,
            hooks,
          })
        : startComputeNamed({ ...options, role: flags.role, progress, hooks }),
    );
    if (!flags.silent) this.log(`${isNew ? 'replica' : 'compute'} "${name}" started on port ${compute.port}`);
  }
}
