/**
 * Where psql 18 differs from psql 15, the original at hand, golden/describe18.out says what it shows. The file was made from
 * our own output (UPDATE_GOLDEN=1) and read against psql 18's manual and the expected output of PostgreSQL 18's regression tests;
 * a change in it needs the same.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { COMMANDS_18, SETUP } from './describe-cases.js';
import { baseEnv, runOurs } from './harness.js';

const GOLDEN = new URL('golden/describe18.out', import.meta.url);

describe('psql 18 catalog commands', function () {
  this.timeout(30_000);
  let server: PlainPostgres;
  before(async () => {
    server = await startPlainPostgres();
    await server.sql(SETUP);
  });
  after(() => server.destroy());

  it('show what psql 18 shows', async () => {
    let text = '';
    for (const command of COMMANDS_18) {
      const { stdout, stderr, status } = await runOurs({ args: ['-X', '-c', command] }, baseEnv(server));
      text += `== ${command}\n${stdout}${stderr}${status === 0 ? '' : `exit ${status}\n`}`;
    }
    if (process.env['UPDATE_GOLDEN']) fs.writeFileSync(GOLDEN, text);
    assert.equal(text, fs.readFileSync(GOLDEN, 'utf8'));
  });

  it('take the queries of the same commands under a hostile search_path', async () => {
    await server.sql(
      "create schema evil; create function evil.lower(text) returns text language sql as $$ select 'evil' $$; create table evil.pg_class (oid oid, relname name)",
    );
    const env = { ...baseEnv(server), PGOPTIONS: '-c search_path=evil,pg_catalog,public' };
    const hostile = await runOurs(
      { args: ['-X', ...COMMANDS_18.flatMap((command) => ['-c', command])] },
      env,
    );
    assert.doesNotMatch(hostile.stderr, /ERROR/);
  });
});
