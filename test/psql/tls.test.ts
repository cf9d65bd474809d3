/** sslmode: what is encrypted, what is checked, and what is refused, is what libpq encrypts, checks and refuses. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../src/cluster/certificates.js';
import { freePort } from '../../src/cluster/ports.js';
import { findPostgres, giveTo } from '../../src/compute/postgres.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { baseEnv, requireRealPsql, runOurs, runReal } from './harness.js';

const QUERY = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';

describe('sslmode', function () {
  this.timeout(60_000);
  let server: PlainPostgres | undefined;
  let folder: string;
  let root: string;
  let env: Record<string, string>;

  before(async () => {
    requireRealPsql();
    folder = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-tls-'));
    const authority = await CertificateAuthority.create(folder, 'test');
    const { certFile } = await authority.issue('node:1', ['localhost']);
    root = path.join(folder, 'ca.crt');
    const other = path.join(folder, 'other');
    await CertificateAuthority.create(other, 'another');
    const install = await findPostgres();
    await giveTo(install, folder);
    await giveTo(install, certFile);
    const port = String(await freePort());
    const settings = {
      ssl: 'on',
      ssl_cert_file: certFile,
      ssl_key_file: certFile,
      listen_addresses: '127.0.0.1',
    };
    server = await startPlainPostgres({ settings: { ...settings, port } });
    env = { ...baseEnv(server), PGHOST: 'localhost', PGHOSTADDR: '127.0.0.1', PGPORT: port };
  });
  after(async () => {
    await server?.destroy();
    await fs.rm(folder, { recursive: true, force: true });
  });

  for (const [mode, more, expected] of [
    ['disable', {}, 'f'],
    ['allow', {}, 'f'],
    ['prefer', {}, 't'],
    ['require', {}, 't'],
    ['verify-ca', { PGSSLROOTCERT: 'ca.crt' }, 't'],
    ['verify-full', { PGSSLROOTCERT: 'ca.crt' }, 't'],
    ['verify-ca', { PGSSLROOTCERT: 'ca.crt', PGHOST: 'elsewhere' }, 't'],
    ['verify-full', { PGSSLROOTCERT: 'ca.crt', PGHOST: 'elsewhere' }, null],
    ['verify-ca', { PGSSLROOTCERT: 'other/ca.crt' }, null],
    ['require', { PGSSLROOTCERT: 'other/ca.crt' }, null],
    ['verify-full', {}, null],
  ] as [string, Record<string, string>, string | null][]) {
    it(`${mode} ${JSON.stringify(more)}: ${expected ?? 'refused'}`, async () => {
      const file = more['PGSSLROOTCERT'];
      const own = {
        ...more,
        ...(file === undefined ? {} : { PGSSLROOTCERT: path.join(path.dirname(root), file) }),
      };
      const invocation = { args: ['-X', '-At', '-c', QUERY], env: { ...own, PGSSLMODE: mode } };
      const [real, ours] = await Promise.all([runReal(invocation, env), runOurs(invocation, env)]);
      const wanted = expected === null ? { status: 2, stdout: '' } : { status: 0, stdout: `${expected}\n` };
      assert.deepEqual({ status: real.status, stdout: real.stdout }, wanted, real.stderr);
      assert.deepEqual({ status: ours.status, stdout: ours.stdout }, wanted, ours.stderr);
    });
  }
});
