/**
 * npm run coverage:wal: drives every record type of PostgreSQL 18 in a real server, replays and compares all of it, and writes
 * docs/WAL-COVERAGE.md. Fails when a type that can be produced was not seen, when nothing proves it, or when anything differs.
 */
import { promises as fs } from 'node:fs';
import { workloadNames } from '../helpers/redo-workload.js';
import { startPlainPostgres } from '../helpers/plain-postgres.js';
import { Coverage } from './coverage-run.js';
import { SCENARIOS } from './coverage-scenarios.js';
import { coverageDocument } from './coverage-table.js';
import { allRecordTypes, proofOf, UNPRODUCIBLE } from './coverage-types.js';

const DOCUMENT = new URL('../../docs/WAL-COVERAGE.md', import.meta.url);
const SHOWN = 40;

async function serverVersion(): Promise<string> {
  const server = await startPlainPostgres();
  try {
    const [row] = await server.sql("SELECT 'PostgreSQL ' || current_setting('server_version') AS version");
    return String(row!['version']);
  } finally {
    await server.destroy();
  }
}

const begun = Date.now();
const coverage = new Coverage();
const used = new Set(SCENARIOS.flatMap(({ steps }) => steps.map(({ name }) => name)));
for (const name of await workloadNames())
  if (!used.has(name)) coverage.failures.push(`${name} belongs to no scenario`);
for (const scenario of SCENARIOS) {
  console.log(scenario.name);
  await coverage.run(scenario);
}

for (const type of allRecordTypes()) {
  const { seen, compared, mismatched, checks } = coverage.of(type);
  const proof = proofOf(type);
  if (UNPRODUCIBLE.has(type)) {
    if (seen > 0) coverage.failures.push(`${type} was seen ${seen} times, though it cannot be produced`);
    continue;
  }
  if (seen === 0) coverage.failures.push(`${type} was not seen`);
  else if (compared === 0 && (proof === null || (proof.kind === 'files' && checks === 0)))
    coverage.failures.push(`${type}: nothing was compared and nothing else proves it`);
  if (mismatched > 0) coverage.failures.push(`${type}: ${mismatched} pages differ`);
}
await fs.writeFile(DOCUMENT, coverageDocument(coverage.types, await serverVersion()));
console.log(`docs/WAL-COVERAGE.md written after ${((Date.now() - begun) / 1000).toFixed(0)} s`);
for (const text of coverage.failures.slice(0, SHOWN)) console.error(text);
if (coverage.failures.length > 0) {
  console.error(`${coverage.failures.length} failure(s)`);
  process.exitCode = 1;
}
