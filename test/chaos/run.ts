/**
 * npm run chaos: the fault matrix against real processes, each round on a new cluster.
 *
 *   npm run chaos                                  all rounds
 *   npm run chaos -- --only "partition/one node"   rounds whose name holds this; may be given more than once
 *   npm run chaos -- --seed 7                      other victims, moments and positions (default 1)
 *   npm run chaos -- --write                       puts the table into docs/RELIABILITY.md
 *   npm run chaos -- --results FILE                keeps results there, and takes those of rounds that are not run from there
 *   npm run chaos -- --keep                        keeps the daemons' logs of rounds that pass, too
 *   npm run chaos -- --list
 */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ChaosCluster } from './cluster.js';
import { onInterrupt } from './interrupt.js';
import { hash } from './random.js';
import { openBooks, runRound } from './round.js';
import { allRounds, STORAGE_SETTINGS, type Round } from './rounds.js';
import { matrixTable, rowOf, writeSection, type Row } from './report.js';

/** Of the round that runs. */
let cluster: ChaosCluster | null = null;

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    seed: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    results: { type: 'string' },
  },
});
const seed = Number(flags.seed);
if (!Number.isInteger(seed)) throw new Error(`--seed must be a whole number, not "${flags.seed}"`);
const rounds = allRounds().filter(
  ({ name }) => !flags.only || flags.only.some((part) => name.includes(part)),
);
if (rounds.length === 0) throw new Error(`no round is called like "${flags.only?.join('", "')}": see --list`);
if (flags.list) for (const { name, skip } of rounds) console.log(skip ? `${name}  (none: ${skip})` : name);
else process.exitCode = await runAll();

async function runAll(): Promise<number> {
  onInterrupt(async () => cluster?.destroy());
  const rows: Row[] = [];
  const failed: string[] = [];
  const begun = Date.now();
  for (const round of rounds) {
    if (round.skip !== null) {
      rows.push(rowOf(round, null));
      continue;
    }
    console.log(`${round.name}, seed ${seed}`);
    const row = await one(round);
    rows.push(row);
    if (flags.results) withEarlier(flags.results, rows); // an interrupted run keeps what it has
    if (row.failure !== null) failed.push(round.name);
  }
  const { table, notes } = matrixTable(flags.results ? withEarlier(flags.results, rows) : rows);
  console.log(`\n${table}\n\n${notes}`);
  const minutes = ((Date.now() - begun) / 60_000).toFixed(1);
  console.log(
    `${rows.filter((row) => row.result).length} rounds passed, ${failed.length} failed, in ${minutes} minutes`,
  );
  for (const name of failed) console.log(`again: npm run chaos -- --only "${name}" --seed ${seed}`);
  if (flags.write) {
    const machine = `${os.cpus().length} cores (${os.cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(os.totalmem() / 2 ** 30)} GiB of memory, Node.js ${process.version}`;
    const about = `Made by \`npm run chaos -- --write --seed ${seed}\` in ${minutes} minutes, on ${machine}.`;
    writeSection('chaos', [about, '', table, '', notes]);
  }
  return failed.length === 0 ? 0 : 1;
}

async function one(round: Round): Promise<Row> {
  const roundSeed = (seed * 1_000_003 + hash(round.name)) >>> 0;
  const log = (line: string): void => console.log(line);
  try {
    cluster = await ChaosCluster.start({ storageSettings: STORAGE_SETTINGS });
    const load = await openBooks(cluster, roundSeed);
    const checksAll =
      round.target === null || round.target === 'all at once' || round.fault?.name === 'bit flip, pages';
    const options = { seed: roundSeed, short: false, checksAll, log };
    const result = round.run
      ? await round.run(cluster, load, options)
      : await runRound(cluster, load, round.fault!, round.target!, options);
    if (flags.keep) await keepLogs(cluster);
    return rowOf(round, result);
  } catch (err) {
    console.log(`    FAILED: ${(err as Error).stack}`);
    if (cluster) await keepLogs(cluster);
    console.log(`    again: npm run chaos -- --only "${round.name}" --seed ${seed}`);
    return rowOf(round, null, (err as Error).message);
  } finally {
    await cluster?.destroy();
    cluster = null;
  }
}

async function keepLogs(cluster: ChaosCluster): Promise<void> {
  const kept = mkdtempSync(path.join(os.tmpdir(), 'openaurora-chaos-'));
  await cluster.keepLogs(kept);
  console.log(`    the daemons' logs: ${kept}`);
}

/** All rounds in their order, the new results in the place of earlier ones; kept for the next time. */
function withEarlier(file: string, rows: readonly Row[]): Row[] {
  const known = new Map<string, Row>();
  const earlier = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Row[]) : [];
  for (const row of [...earlier, ...rows]) known.set(row.name, row);
  const all = allRounds().flatMap(({ name }) => known.get(name) ?? []);
  writeFileSync(file, JSON.stringify(all, null, 2));
  return all;
}
