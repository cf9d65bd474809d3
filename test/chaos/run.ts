/**
 * npm run chaos: the fault matrix against real processes, each round on a new cluster.
 *
 *   npm run chaos                                  all rounds
 *   npm run chaos -- --only "partition/one node"   rounds whose name holds this; may be given more than once
 *   npm run chaos -- --seed 7                      other victims, moments and positions (default 1)
 *   npm run chaos -- --write                       puts the table into docs/RELIABILITY.md
 *   npm run chaos -- --list
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ChaosCluster } from './cluster.js';
import { hash } from './random.js';
import { openBooks, runRound } from './round.js';
import { allRounds, STORAGE_SETTINGS, type Round } from './rounds.js';
import { matrixTable, rowOf, type Row } from './report.js';

const DOC = path.join(import.meta.dirname, '..', '..', 'docs', 'RELIABILITY.md');

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    seed: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
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
    if (row.failure !== null) failed.push(round.name);
  }
  const { table, notes } = matrixTable(rows);
  console.log(`\n${table}\n\n${notes}`);
  const minutes = ((Date.now() - begun) / 60_000).toFixed(1);
  console.log(
    `${rows.filter((row) => row.result).length} rounds passed, ${failed.length} failed, in ${minutes} minutes`,
  );
  for (const name of failed) console.log(`again: npm run chaos -- --only "${name}" --seed ${seed}`);
  if (flags.write) write(table, notes, minutes);
  return failed.length === 0 ? 0 : 1;
}

async function one(round: Round): Promise<Row> {
  const roundSeed = (seed * 1_000_003 + hash(round.name)) >>> 0;
  const log = (line: string): void => console.log(line);
  let cluster: ChaosCluster | null = null;
  try {
    cluster = await ChaosCluster.start({ storageSettings: STORAGE_SETTINGS });
    const load = await openBooks(cluster, roundSeed);
    const options = { seed: roundSeed, short: false, log };
    const result = round.run
      ? await round.run(cluster, load, options)
      : await runRound(cluster, load, round.fault!, round.target!, options);
    return rowOf(round, result);
  } catch (err) {
    const kept = mkdtempSync(path.join(os.tmpdir(), 'openaurora-chaos-'));
    await cluster?.keepLogs(kept);
    console.log(`    FAILED: ${(err as Error).stack}\n    the daemons' logs: ${kept}`);
    console.log(`    again: npm run chaos -- --only "${round.name}" --seed ${seed}`);
    return rowOf(round, null, (err as Error).message);
  } finally {
    await cluster?.destroy();
  }
}

/** Between its marks; the rest of the file is written by hand. */
function write(table: string, notes: string, minutes: string): void {
  const text = readFileSync(DOC, 'utf8');
  const [begin, end] = ['<!-- chaos: begin -->', '<!-- chaos: end -->'];
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${DOC} has no place for the table`);
  const machine = `${os.cpus().length} cores (${os.cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(os.totalmem() / 2 ** 30)} GiB of memory, Node.js ${process.version}`;
  const about = `Made by \`npm run chaos -- --write --seed ${seed}\` in ${minutes} minutes, on ${machine}.`;
  writeFileSync(
    DOC,
    `${text.slice(0, from)}${begin}\n\n${about}\n\n${table}\n\n${notes}\n\n${text.slice(to)}`,
  );
}
