/**
 * Ours against the original: every invocation in cases.ts gives, byte for byte, the standard output, the standard error and the
 * exit status of Debian's psql, but for the differences named below.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { CASES, FILES, type Case } from './cases.js';
import { OUTPUT_CASES } from './output-cases.js';
import { DESCRIBE_CASES, SETUP } from './describe-cases.js';
import { baseEnv, requireRealPsql, runOurs, runReal, type Transcript } from './harness.js';

/** What may differ: said of the original's text, in terms of ours. */
const DIFFERENCES: { why: string; from: RegExp; to: string }[] = [
  { why: 'the program calls itself "aurora psql"', from: /^(?:\/usr\/\S*\/)?psql: /gm, to: 'aurora psql: ' },
  { why: 'and so do its hints', from: /Try "psql --help"/g, to: 'Try "aurora psql --help"' },
];

/** Process ids differ from run to run. */
function comparable({ stdout, stderr, status }: Transcript): Transcript {
  const mask = (text: string): string => text.replace(/with PID \d+/g, 'with PID N');
  return { stdout: mask(stdout), stderr: mask(stderr), status };
}

function adapt(text: string): string {
  return DIFFERENCES.reduce((current, { from, to }) => current.replace(from, to), text);
}

describe('psql transcripts', function () {
  this.timeout(60_000);
  let server: PlainPostgres | undefined;
  let folder: string;
  const home = process.cwd();

  before(async () => {
    requireRealPsql();
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-psql-'));
    fs.mkdirSync(path.join(folder, 'folder'));
    for (const [name, text] of Object.entries(FILES)) fs.writeFileSync(path.join(folder, name), text);
    server = await startPlainPostgres();
    await server.sql(SETUP);
  });

  after(async () => {
    process.chdir(home);
    fs.rmSync(folder, { recursive: true, force: true });
    await server?.destroy();
  });

  function compares(invocation: Case, changesNothing: boolean): void {
    it(invocation.name, async () => {
      process.chdir(folder); // \cd of the case before may have moved us
      const env = baseEnv(server!);
      const original = runReal(invocation, env);
      if (!changesNothing) await original; // else both at the same time
      const [real, ours] = (await Promise.all([original, runOurs(invocation, env)])).map(comparable) as [
        Transcript,
        Transcript,
      ];
      assert.deepEqual(ours, { ...real, stdout: adapt(real.stdout), stderr: adapt(real.stderr) });
    });
  }

  for (const invocation of [...OUTPUT_CASES, ...DESCRIBE_CASES]) compares(invocation, true);
  for (const invocation of CASES) compares(invocation, false);
});
