import chalk from 'chalk';
import Table from 'cli-table3';
import type { ComputeReport } from './status.js';

const PLAIN = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' }; // prettier-ignore

/** An empty table without lines, as all of "aurora status" has them. */
export function plainTable(head: string[]): InstanceType<typeof Table> {
  return new Table({
    head,
    chars: PLAIN,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
}

export function stateColour(state: string): string {
  if (state === 'running') return chalk.green(state);
  return state === 'down' || state === 'stopped' ? chalk.red(state) : chalk.yellow(state);
}

/** One line a compute. Replicas have the LSN that they have replayed instead of the commit LSN, and how far behind that is. */
export function computeTable(computes: readonly ComputeReport[]): string {
  const withLag = computes.some((compute) => compute.replica !== null);
  const withHits = computes.some((compute) => compute.cacheHitRatio !== null);
  const table = plainTable([
    ...['compute', 'role', 'state', 'pid', 'postgres', 'port', 'epoch', 'commit'],
    ...(withLag ? ['replayed', 'lag', 'lease'] : []),
    ...(withHits ? ['cache hit'] : []),
  ]);
  for (const c of computes)
    table.push([
      ...[c.name, c.role, stateColour(c.state), c.pid ?? '-', c.postgresPid ?? '-', c.port, c.epoch ?? '-'],
      c.commitLsn ?? '-',
      ...(withLag ? [c.replica?.replayLsn ?? '-', lagText(c.replica), c.leaseLsn ?? '-'] : []),
      ...(withHits ? [c.cacheHitRatio === null ? '-' : `${(c.cacheHitRatio * 100).toFixed(1)} %`] : []),
    ]);
  return table.toString();
}

function lagText(replica: ComputeReport['replica']): string {
  return replica ? `${replica.lagBytes} B, ${replica.lagMs} ms` : '-';
}
