/** sslmode: what is encrypted, what is checked, and what is refused, is what libpq encrypts, checks and refuses. */
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../src/cluster/certificates.js';
import { freePort } from '../../src/cluster/ports.js';
import { findPostgres, giveTo } from '../../src/compute/postgres.js';
import { aurora } from '../commands/cli.js';
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
    root = path.join(folder, 'ca.crt');
    const authority = await CertificateAuthority.create(folder, 'test');
    const { certFile } = await authority.issue('node:1', ['localhost']);
    await clientFiles(authority);
    const other = path.join(folder, 'other');
    await CertificateAuthority.create(other, 'another');
    const install = await findPostgres();
    await giveTo(install, folder);
    await giveTo(install, certFile);
    await giveTo(install, root);
    const hba = path.join(folder, 'hba.conf');
    await fs.writeFile(
      hba,
      'hostssl all certified all trust clientcert=verify-ca\nhost all certified all reject\nhost all all all trust\nlocal all all trust\n',
    );
    await giveTo(install, hba);
    const port = String(await freePort());
    const settings = {
      ssl: 'on',
      ssl_cert_file: certFile,
      ssl_key_file: certFile,
      ssl_ca_file: root,
      hba_file: hba,
      listen_addresses: '127.0.0.1',
    };
    server = await startPlainPostgres({ settings: { ...settings, port } });
    env = { ...baseEnv(server), PGHOST: 'localhost', PGHOSTADDR: '127.0.0.1', PGPORT: port };
    const made = await runOurs({ args: ['-X', '-q', '-c', 'create role certified login'] }, env);
    assert.equal(made.status, 0, made.stderr);
  });
  after(async () => {
    await server?.destroy();
    await fs.rm(folder, { recursive: true, force: true });
  });

  /** A client's certificate and key: each in its file, as `~/.postgresql` of the folder `home`, and the key with a password. */
  async function clientFiles(authority: CertificateAuthority): Promise<void> {
    const home = path.join(folder, 'home/.postgresql');
    await fs.mkdir(home, { recursive: true });
    const pem = await fs.readFile((await authority.issue('tool', [])).certFile, 'utf8');
    const key = createPrivateKey(pem);
    const locked = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'pass word' } as const;
    const write = (file: string, text: string | Buffer): Promise<void> =>
      fs.writeFile(file, text, { mode: 0o600 });
    await write(path.join(home, 'postgresql.crt'), pem);
    await write(path.join(home, 'postgresql.key'), key.export({ type: 'pkcs8', format: 'pem' }));
    await write(path.join(folder, 'locked.key'), key.export(locked));
    await fs.copyFile(root, path.join(home, 'root.crt'));
  }

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

  /** As role "certified", who needs a certificate; by the original too, unless its version does not know the case. */
  async function certified(
    string: string,
    more: Record<string, string>,
    expected: { stdout: string; says?: RegExp },
    runs: (typeof runOurs)[] = [runReal, runOurs],
  ): Promise<void> {
    const args = ['-X', '-w', '-At', '-c', QUERY, '-d', `dbname=postgres ${string}`];
    for (const run of runs) {
      const { stdout, stderr, status } = await run({ args, env: { PGUSER: 'certified', ...more } }, env);
      assert.deepEqual([stdout, status], [expected.stdout, expected.stdout === '' ? 2 : 0], stderr);
      if (expected.says) assert.match(stderr, expected.says);
    }
  }

  it('sslcert, sslkey, sslpassword: by string, environment and ~/.postgresql', async () => {
    const home = { HOME: path.join(folder, 'home') };
    const cert = path.join(home.HOME, '.postgresql/postgresql.crt');
    const key = path.join(home.HOME, '.postgresql/postgresql.key');
    const locked = path.join(folder, 'locked.key');
    await certified('', {}, { stdout: '', says: /requires a valid client certificate/ });
    await certified(`sslcert=${cert} sslkey=${key}`, {}, { stdout: 't\n' });
    await certified('', { PGSSLCERT: cert, PGSSLKEY: key }, { stdout: 't\n' });
    await certified(`sslcert=${cert} sslkey=${locked} sslpassword='pass word'`, {}, { stdout: 't\n' });
    await certified('', home, { stdout: 't\n' });
    await certified('sslmode=verify-full', home, { stdout: 't\n' });
  });

  it('sslrootcert=system: the authorities that Node.js has, for verify-full only', async () => {
    const query = ['psql', '-X', '-w', '-At', '-c', QUERY, '-d', 'dbname=postgres sslrootcert=system'];
    const unknown = await aurora(query, { env });
    assert.deepEqual([unknown.status, unknown.stdout], [2, '']);
    const known = await aurora(query, { env: { ...env, NODE_EXTRA_CA_CERTS: root } });
    assert.deepEqual(known, { status: 0, stdout: 't\n', stderr: '' });
    const elsewhere = await aurora(query, {
      env: { ...env, NODE_EXTRA_CA_CERTS: root, PGHOST: 'elsewhere' },
    });
    assert.deepEqual([elsewhere.status, elsewhere.stdout], [2, '']);
    await certified('sslrootcert=system sslmode=require', {}, { stdout: '', says: /weak sslmode "require"/ }, [runOurs]); // prettier-ignore
  });
});
