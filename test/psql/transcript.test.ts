/**
 * Ours against the original: every invocation in the files of cases gives, byte for byte, the standard output, the standard error
 * and the exit status of Debian's psql, but for the differences named in compare.ts.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { CASES, FILES, type Case } from './cases.js';
import { assertSame } from './compare.js';
import { CONNECTION_CASES } from './connection-cases.js';
import { MORE_CASES, MORE_FILES, MORE_OUTPUT_CASES, MORE_SETUP } from './more-cases.js';
import { RAW_CASES, RAW_FILES } from './raw-cases.js';
import { OUTPUT_CASES } from './output-cases.js';
import { DESCRIBE_CASES, SETUP } from './describe-cases.js';
import { baseEnv, requireRealPsql } from './harness.js';

describe('psql transcripts', function () {
  this.timeout(60_000);
  let server: PlainPostgres | undefined;
  let standby: PlainPostgres | undefined;
  let folder: string;
  const home = process.cwd();

  before(async () => {
    requireRealPsql();
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-psql-'));
    fs.mkdirSync(path.join(folder, 'folder'));
    for (const [name, text] of Object.entries({ ...FILES, ...MORE_FILES, ...RAW_FILES }))
      fs.writeFileSync(path.join(folder, name), text);
    server = await startPlainPostgres();
    await server.sql(SETUP + MORE_SETUP);
  });

  after(async () => {
    process.chdir(home);
    fs.rmSync(folder, { recursive: true, force: true });
    await standby?.destroy();
    await server?.destroy();
  });

  function compares(invocation: Case, changesNothing: boolean): void {
    it(invocation.name, async () => {
      process.chdir(folder); // \cd of the case before may have moved us
      const places = { socket: server!.socketDir, standby: standby?.socketDir ?? '' };
      await assertSame(invocation, baseEnv(server!), { atOnce: changesNothing, places });
    });
  }

  for (const invocation of [...OUTPUT_CASES, ...DESCRIBE_CASES, ...MORE_OUTPUT_CASES])
    compares(invocation, true);
  for (const invocation of [...CASES, ...MORE_CASES, ...RAW_CASES]) compares(invocation, false);

  describe('of connections', () => {
    before(async () => {
      await server!.stop();
      standby = await startPlainPostgres({ copyOf: server!.dataDir, signalFile: 'standby.signal' });
      await server!.start();
    });

    for (const invocation of CONNECTION_CASES) compares(invocation, true);
  });
});
