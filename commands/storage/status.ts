import path from 'node:path';
import { Args } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { isLoneNode, loneNodeStatus, readLoneNode } from '../../src/cluster/lone-node.js';
import { clusterStatus, nodeProblem, type StorageNodeReport } from '../../src/cluster/status.js';
import { DbError } from '../../src/engine/errors.js';
import { formatLsn } from '../../src/engine/lsn.js';
import type { NodeStatus } from '../../src/net/node-status.js';

/** As pg_ctl status: 3 = not running. */
const EXIT_NOT_RUNNING = 3;

export default class StorageStatus extends AuroraCommand {
  static override summary = 'Show how storage nodes are: position, vote, rebuild, disk.';
  static override description =
    'Exit status: 0 all that were asked run, 3 one does not. -D is a cluster, or the folder of a node alone on this host.';
  static override examples = [
    '<%= config.bin %> storage status -D ./aurora-data',
    '<%= config.bin %> storage status 4 --json',
  ];
  static override enableJsonFlag = true;
  static override args = { id: Args.string({ description: "name of a cluster's storage node" }) };
  static override flags = { ...clusterFlag };

  async run(): Promise<StorageNodeReport[] | NodeStatus | null> {
    const { args, flags } = await this.parse(StorageStatus);
    const dir = this.requireCluster(flags.pgdata);
    if (isLoneNode(dir)) return this.lone(path.resolve(dir));
    const { storage } = await clusterStatus(dir);
    const chosen = storage.filter((node) => args.id === undefined || node.id === args.id);
    if (chosen.length === 0)
      throw new DbError('USAGE_NO_NODE', `there is no storage node ${args.id}`, {
        hint: `There are ${storage.map((node) => node.id).join(', ')}.`,
      });
    for (const node of chosen) {
      const zone = node.zone === '' ? '' : `, zone ${node.zone}`;
      this.log(`storage ${node.id}: ${node.state}, ${node.member}${zone}, ${node.host}:${node.port}`);
      if (node.scl)
        this.log(`  epoch ${node.epoch}  SCL ${node.scl}  commit ${node.commit}  applied ${node.applied}`);
      if (node.problem) this.log(`  ${node.problem}`);
    }
    process.exitCode = chosen.every((node) => node.state === 'running') ? 0 : EXIT_NOT_RUNNING;
    return chosen;
  }

  private async lone(dir: string): Promise<NodeStatus | null> {
    const { nodeId, advertise } = readLoneNode(dir);
    const status = await loneNodeStatus(dir);
    this.log(
      `storage ${nodeId}: ${status?.state ?? 'down'}${status ? `, ${status.membership.state}` : ''}, ${advertise}`,
    );
    if (status) {
      const { promisedEpoch, scl, commitLsn, appliedLsn } = status;
      this.log(
        `  epoch ${promisedEpoch}  SCL ${formatLsn(scl)}  commit ${formatLsn(commitLsn)}  applied ${formatLsn(appliedLsn)}`,
      );
      const problem = nodeProblem(status);
      if (problem) this.log(`  ${problem}`);
    }
    process.exitCode = status ? 0 : EXIT_NOT_RUNNING;
    return status;
  }
}
