import chalk from 'chalk';
import Table from 'cli-table3';
import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { clusterStatus, type ClusterReport } from '../src/cluster/status.js';
import { isDbError } from '../src/engine/errors.js';

/** pg_ctl status: 0 running, 3 not running, 4 no accessible data directory. */
const EXIT_NOT_RUNNING = 3;
const EXIT_NO_CLUSTER = 4;

const PLAIN = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' }; // prettier-ignore

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
    if (flags.dsn) this.log(dsn(report));
    else this.print(report);
    process.exitCode = report.running ? 0 : EXIT_NOT_RUNNING;
    return report;
  }

  private print(report: ClusterReport): void {
    const { volume } = report;
    const primary = report.computes[0];
    this.log(
      report.running ? `aurora: cluster is running (PID: ${primary?.pid})` : 'aurora: no server running',
    );
    this.log(
      `\nvolume ${volume.id}  copies ${volume.copies}, write quorum ${volume.writeQuorum}, read quorum ${volume.readQuorum}`,
    );
    if (volume.commitLsn)
      this.log(`epoch ${volume.epoch}  commit ${volume.commitLsn}  applied ${volume.appliedLsn}`);
    const nodes = table(['storage', 'state', 'pid', 'address', 'SCL', 'applied', 'epoch', 'disk']);
    for (const node of report.storage) {
      nodes.push([
        node.id,
        colour(node.voter === false ? `${node.state}, learner` : node.state),
        node.pid ?? '-',
        `${node.host}:${node.port}`,
        node.scl ?? '-',
        node.applied ?? '-',
        node.epoch ?? '-',
        node.disk ? size(node.disk.logBytes + node.disk.pagesBytes) : '-',
      ]);
    }
    const computes = table(['compute', 'role', 'state', 'pid', 'postgres', 'port', 'epoch', 'commit']);
    for (const c of report.computes)
      computes.push([
        c.name,
        c.role,
        colour(c.state),
        c.pid ?? '-',
        c.postgresPid ?? '-',
        c.port,
        c.epoch ?? '-',
        c.commitLsn ?? '-',
      ]);
    this.log(`\n${nodes.toString()}\n\n${computes.toString()}`);
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
    if (report.running) this.log(`\nconnect: ${dsn(report)}`);
  }
}

function dsn(report: ClusterReport): string {
  const port = report.computes[0]?.port ?? 5432;
  return `postgresql://${encodeURIComponent(report.superuser)}@/postgres?host=${encodeURIComponent(report.socketDir)}&port=${port}`;
}

function table(head: string[]): InstanceType<typeof Table> {
  return new Table({
    head,
    chars: PLAIN,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
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

function colour(state: string): string {
  if (state === 'running') return chalk.green(state);
  return state === 'down' || state === 'stopped' ? chalk.red(state) : chalk.yellow(state);
}
