import chalk from 'chalk';
import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { computeTable, plainTable, stateColour } from '../src/cluster/compute-table.js';
import type { EndpointName } from '../src/cluster/endpoints.js';
import { askCacheHits } from '../src/cluster/server-counters.js';
import { clusterStatus, type ClusterReport } from '../src/cluster/status.js';
import { isDbError } from '../src/engine/errors.js';

/** pg_ctl status: 0 running, 3 not running, 4 no accessible data directory. */
const EXIT_NOT_RUNNING = 3;
const EXIT_NO_CLUSTER = 4;

export default class Status extends AuroraCommand {
  static override summary = 'Show whether a cluster runs, and how its nodes and computes are.';
  static override description = 'Exit status: 0 running, 3 not running, 4 no cluster in that directory.';
  static override examples = [
    '<%= config.bin %> status -D ./aurora-data',
    '<%= config.bin %> status -D ./aurora-data --json',
  ];
  static override enableJsonFlag = true;
  static override flags = {
    ...clusterFlag,
    dsn: Flags.boolean({ description: 'print only the connection string' }),
    to: Flags.option({
      options: ['writer', 'reader', 'any'] as const,
      default: 'writer',
      description:
        'with --dsn: to the primary, to a replica (the primary when there is none), or to any compute',
      helpValue: 'writer|reader|any',
    })(),
  };

  async run(): Promise<ClusterReport> {
    const { flags } = await this.parse(Status);
    let report: ClusterReport;
    try {
      report = await clusterStatus(this.requireCluster(flags.pgdata));
    } catch (err) {
      if (isDbError(err, 'CLUSTER_MISSING') || isDbError(err, 'CLUSTER_DENIED'))
        this.failureStatus = EXIT_NO_CLUSTER;
      throw err;
    }
    if (flags.dsn) this.log(report.endpoints[flags.to]);
    else {
      await askCacheHits(report, report.computes);
      this.print(report);
    }
    process.exitCode = report.running ? 0 : EXIT_NOT_RUNNING;
    return report;
  }

  private print(report: ClusterReport): void {
    const { volume } = report;
    this.log(`aurora: ${whatRuns(report)}`);
    this.log(
      `\nvolume ${volume.id}  copies ${volume.copies}, write quorum ${volume.writeQuorum}, read quorum ${volume.readQuorum}`,
    );
    if (volume.commitLsn)
      this.log(`epoch ${volume.epoch}  commit ${volume.commitLsn}  applied ${volume.appliedLsn}`);
    if (!volume.settled)
      this.log(`members: generation ${volume.generation}, which no primary has confirmed yet`);
    const zones = report.storage.some((node) => node.zone !== '');
    const nodes = plainTable([
      'storage',
      ...(zones ? ['zone'] : []),
      'state',
      'pid',
      'address',
      'SCL',
      'applied',
      'epoch',
      'disk',
    ]);
    for (const node of report.storage) {
      nodes.push([
        node.id,
        ...(zones ? [node.zone] : []),
        stateColour(nodeState(node)),
        node.pid ?? '-',
        `${node.host}:${node.port}`,
        node.scl ?? '-',
        node.applied ?? '-',
        node.epoch ?? '-',
        node.disk ? size(node.disk.logBytes + node.disk.pagesBytes) : '-',
      ]);
    }
    this.log(`\n${nodes.toString()}\n\n${computeTable(report.computes)}`);
    for (const { id, redoVerify } of report.storage)
      if (redoVerify)
        this.log(
          `storage ${id}: redo_verify compared ${redoVerify.compared} pages, ${redoVerify.mismatched} mismatched`,
        );
    for (const { id, scrub } of report.storage)
      if (scrub?.lastPassAt)
        this.log(
          `storage ${id}: pages scrubbed at ${scrub.lastPassAt}; since its start ${scrub.pagesCompared} compared, ${scrub.pagesDiffering} differing, ${scrub.pagesRepaired} repaired`,
        );
    for (const { id, problem } of report.storage)
      if (problem) this.log(chalk.yellow(`storage ${id}: ${problem}`));
    for (const { name, problem } of report.computes)
      if (problem) this.log(chalk.yellow(`compute ${name}: ${problem}`));
    if (!report.running) return;
    if (report.computes.length === 1) this.log(`\nconnect: ${report.endpoints.writer}`);
    else
      for (const name of ['writer', 'reader', 'any'] satisfies EndpointName[])
        this.log(`${name === 'writer' ? '\n' : ''}connect to ${name.padEnd(6)}: ${report.endpoints[name]}`);
  }
}

function nodeState({ state, member, voter }: ClusterReport['storage'][number]): string {
  if (member !== 'voter') return `${state}, ${member}`;
  return voter === false ? `${state}, learner` : state;
}

/** As pg_size_pretty() writes it. */
function size(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 10_240 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Math.round(value)} ${units[unit]}`;
}

function whatRuns({ running, computes }: ClusterReport): string {
  const pid = computes[0]?.pid ?? null;
  if (pid !== null) return `cluster is running (PID: ${pid})`;
  if (!running) return 'no server running';
  return 'the primary is not running, replicas are; start it with "aurora start", or make another one the primary with "aurora promote NAME"';
}
