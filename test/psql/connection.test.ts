/** Where psql and the client commands connect: flags before connection string before environment before the local cluster. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { resolveConnection } from '../../src/psql/connection.js';
import { parseCopy } from '../../src/psql/copy-command.js';
import { parsePattern } from '../../src/psql/describe/pattern.js';
import { startPlainPostgres } from '../helpers/plain-postgres.js';
import { baseEnv, requireRealPsql, runOurs, runReal } from './harness.js';

const CLUSTER = { host: '/clusters/a/run', port: 6000, user: 'owner' };

describe('resolveConnection', () => {
  const where = (
    options: Parameters<typeof resolveConnection>[0],
    env = {},
    fallback: typeof CLUSTER | null = CLUSTER,
  ) => {
    const { host, port, user, database, password } = resolveConnection(options, env, fallback);
    return { host, port, user, database, password };
  };

  it('takes the local cluster when nothing names a host', () => {
    assert.deepEqual(where({}), { ...CLUSTER, database: 'owner', password: undefined });
    assert.equal(where({ dbname: 'shop' }).database, 'shop');
    assert.equal(where({}, {}, null).host, 'localhost');
    assert.equal(where({}, {}, null).user, os.userInfo().username);
  });

  it('leaves the local cluster aside as soon as a host is named', () => {
    for (const named of [
      where({ host: 'db' }),
      where({}, { PGHOST: 'db' }),
      where({ dbname: 'host=db' }),
      where({ dbname: 'postgresql://db/x' }),
    ])
      assert.deepEqual([named.host, named.port], ['db', 5432]);
  });

  it('prefers flags to the connection string to the environment', () => {
    const env = { PGHOST: 'e', PGPORT: '1', PGUSER: 'eu', PGDATABASE: 'ed', PGPASSWORD: 'ep' };
    assert.deepEqual(where({}, env), { host: 'e', port: 1, user: 'eu', database: 'ed', password: 'ep' });
    const uri = 'postgresql://su:s%40p@s:2/sd';
    assert.deepEqual(where({ dbname: uri }, env), {
      host: 's',
      port: 2,
      user: 'su',
      database: 'sd',
      password: 's@p',
    });
    assert.deepEqual(where({ dbname: uri, host: 'f', port: 3, user: 'fu' }, env), { host: 'f', port: 3, user: 'fu', database: 'sd', password: 's@p' }); // prettier-ignore
  });

  it('hands settings of the environment to the server', () => {
    const { extra } = resolveConnection(
      {},
      { PGOPTIONS: '-c geqo=off', PGDATESTYLE: 'SQL, DMY', PGTZ: 'UTC' },
      null,
    );
    assert.equal(extra.options, '-c geqo=off -c datestyle=SQL,\\ DMY -c timezone=UTC');
  });

  it('refuses what it cannot read, without showing a password', () => {
    assert.throws(() => where({ dbname: 'nosuch=1' }), /invalid connection option "nosuch"/);
    assert.throws(() => where({ dbname: 'port=99999' }), /invalid port number: "99999"/);
    assert.throws(
      () => where({ dbname: 'postgresql://u:secret@[::1/x' }),
      (err: Error) => !err.message.includes('secret'),
    );
  });
});

describe('connecting', function () {
  this.timeout(30_000);

  it('sets a password that the server then takes, and fails without it as the original does', async () => {
    requireRealPsql();
    const server = await startPlainPostgres();
    try {
      const env = baseEnv(server);
      await server.sql('create role other login');
      const changed = await runOurs(
        { args: ['-X', '-c', '\\password other'], stdin: 'pässword\npässword\n' },
        env,
      );
      assert.equal(changed.status, 0);
      const mismatch = await runOurs({ args: ['-X', '-c', '\\password other'], stdin: 'new\nold\n' }, env);
      assert.match(mismatch.stderr, /Passwords didn't match\./);

      const hba = path.join(server.dataDir, 'pg_hba.conf');
      fs.writeFileSync(hba, `local all other scram-sha-256\n${fs.readFileSync(hba, 'utf8')}`);
      await server.sql('select pg_reload_conf()');
      const other = { ...env, PGUSER: 'other' };
      const query = ['-X', '-w', '-Atc', 'select current_user'];
      for (const password of ['pässword', 'wrong', undefined]) {
        const given: Record<string, string> = password === undefined ? {} : { PGPASSWORD: password };
        const invocation = { args: query, env: given };
        const real = await runReal(invocation, other);
        const ours = await runOurs(invocation, other);
        assert.equal(real.status, password === 'pässword' ? 0 : 2);
        assert.deepEqual(ours, { ...real, stderr: real.stderr.replace(/^psql:/, 'aurora psql:') });
      }
      const asked = await runOurs(
        { args: ['-X', '-Atc', 'select current_user'], stdin: 'pässword\n' },
        other,
      );
      assert.deepEqual(asked, { stdout: 'other\n', stderr: 'Password for user other: ', status: 0 });
    } finally {
      await server.destroy();
    }
  });
});

describe('parseCopy', () => {
  it('finds table, direction, place and options', () => {
    assert.deepEqual(parseCopy("s.t (a, \"b c\") from 'it''s' with (format csv)"), {
      what: ' s.t ( a, "b c" )',
      isFrom: true,
      file: "it's",
      isProgram: false,
      isOwnStream: false,
      options: ' with (format csv)',
    });
    const query = parseCopy("(select ')' , E'\\')' from t) to program 'cat >x'");
    assert.ok('file' in query && query.isProgram && !query.isFrom);
    assert.equal(query.file, 'cat >x');
    assert.deepEqual(parseCopy('t sideways x'), { problem: '\\copy: parse error at "sideways"' });
    assert.deepEqual(parseCopy('t from'), { problem: '\\copy: parse error at end of line' });
  });
});

describe('parsePattern', () => {
  it('turns shell wildcards and quotes into anchored regular expressions', () => {
    const parts = (pattern: string, max = 3): string[] => parsePattern(pattern, max, false).parts;
    assert.deepEqual(parts('Foo*'), ['^(foo.*)$']);
    assert.deepEqual(parts('"Foo*"'), ['^(Foo\\*)$']);
    assert.deepEqual(parts('a?.b$'), ['^(a.)$', '^(b\\$)$']);
    assert.deepEqual(parts('"a.b".c'), ['^(a\\.b)$', '^(c)$']);
    assert.deepEqual(parts('int[]'), ['^(int\\[])$']);
    assert.deepEqual(parts('a.b.c', 2), ['^(a)$', '^(b.c)$']);
  });
});
