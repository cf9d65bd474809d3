/** The table of connection parameters in docs/CLIENTS.md, row by row, against a running cluster; what is about TLS is in tls.test.ts. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parametersFromEnv, parseConnectionString } from '../../src/psql/connection-string.js';
import { aurora, tempFolder, type CliResult } from '../commands/cli.js';
import { passwordFromFile } from '../../src/psql/passfile.js';
import { TestCluster } from '../helpers/cluster.js';
import { runOurs, type Transcript } from './harness.js';

const PASSWORD = 'sécret:1';
const WHO = 'select current_user, current_database()';

describe('connection parameters of docs/CLIENTS.md', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let dir: string;
  let remove: () => Promise<void>;
  /** Where the server is, by socket (no password) and by TCP (with one). */
  let socket: Record<string, string>;
  let tcp: Record<string, string>;

  before(async () => {
    ({ dir, remove } = await tempFolder());
    cluster = await TestCluster.start({ storageNodes: 1, writeQuorum: 1, password: PASSWORD });
    const client = await cluster.client();
    await client.query('create role shopper login superuser');
    await client.query(`alter role shopper password '${PASSWORD}'`);
    await client.query('create database shopper owner shopper');
    await client.end();
    const base = { PATH: process.env['PATH']!, HOME: dir, PGUSER: 'shopper', PGPORT: String(cluster.port) };
    socket = { ...base, PGHOST: cluster.socketDir };
    tcp = { ...base, PGHOST: '127.0.0.1' };
  });
  after(async () => {
    await cluster?.destroy();
    await remove?.();
  });

  /** One query in a session that `string` and the environment describe. */
  const ask = (
    env: Record<string, string>,
    string: string | null,
    query = WHO,
    args: string[] = [],
  ): Promise<Transcript> =>
    runOurs({ args: ['-X', '-w', '-At', ...args, '-c', query, ...(string === null ? [] : ['-d', string])] }, env); // prettier-ignore
  const answers = async (expected: string, ...asked: Parameters<typeof ask>): Promise<void> =>
    assert.deepEqual(await ask(...asked), { stdout: `${expected}\n`, stderr: '', status: 0 });
  const refused = async (says: RegExp, ...asked: Parameters<typeof ask>): Promise<void> => {
    const { stdout, stderr, status } = await ask(...asked);
    assert.deepEqual([stdout, status], ['', 2]);
    assert.match(stderr, says);
  };
  const without = (env: Record<string, string>, ...names: string[]): Record<string, string> =>
    Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));

  it('host, hostaddr, port: by string before environment, options before both, several in order', async () => {
    const where = "select coalesce(host(inet_server_addr()), 'socket')";
    const nowhere = { ...without(socket, 'PGPORT'), PGHOST: '/nonexistent' };
    const { port, socketDir } = cluster;
    await answers('socket', nowhere, `host=${socketDir} port=${port}`, where);
    await answers('socket', nowhere, 'host=/x port=1', where, ['-h', socketDir, '-p', String(port)]);
    await answers('socket', { ...socket, PGHOST: `/nonexistent,${socketDir}` }, null, where);
    await answers('socket', nowhere, `host=/x,${socketDir} port=1,${port}`, where);
    const key = { ...tcp, PGPASSWORD: PASSWORD, PGHOST: 'nosuch.invalid' };
    await answers('127.0.0.1', key, 'hostaddr=127.0.0.1', where);
    await answers('127.0.0.1', { ...key, PGHOSTADDR: '127.0.0.1' }, null, where);
  });

  it('user, dbname: default to each other, to the account', async () => {
    await answers('shopper|shopper', socket, null);
    await answers('shopper|postgres', { ...socket, PGDATABASE: 'postgres' }, null);
    await answers('shopper|template1', { ...socket, PGDATABASE: 'postgres' }, 'dbname=template1');
    const other = { ...socket, PGUSER: 'nosuch' };
    await answers('shopper|shopper', other, 'user=shopper');
    await answers('shopper|postgres', other, 'user=nosuch dbname=postgres', WHO, ['-U', 'shopper']);
    const account = os.userInfo().username;
    const { stdout, stderr } = await ask(without(socket, 'PGUSER'), 'dbname=postgres');
    assert.match(stdout + stderr, new RegExp(`^${account}\\||role "${account}" does not exist`));
  });

  it('password, passfile: by string, environment and ~/.pgpass, if that is not open to others', async () => {
    await refused(/no password supplied/, tcp, null);
    await answers('shopper|shopper', tcp, `password='${PASSWORD}'`);
    await answers('shopper|shopper', { ...tcp, PGPASSWORD: PASSWORD }, null);
    await refused(/password authentication failed/, { ...tcp, PGPASSWORD: PASSWORD }, 'password=wrong');
    const file = path.join(dir, 'passwords');
    const line = (host: string): string =>
      `${host}:${cluster.port}:*:shopper:${PASSWORD.replace(':', '\\:')}\n`;
    await fs.writeFile(file, `# mine\n${line('127.0.0.1')}`, { mode: 0o600 });
    await answers('shopper|shopper', tcp, `passfile=${file}`);
    await answers('shopper|shopper', { ...tcp, PGPASSFILE: file }, null);
    for (const [host, found] of [
      [cluster.socketDir, PASSWORD],
      ['localhost', PASSWORD],
      ['/elsewhere', null],
    ] as const) {
      const other = path.join(dir, 'by-socket');
      await fs.writeFile(other, line(host), { mode: 0o600 });
      const place = { host: cluster.socketDir, port: cluster.port, database: 'postgres', user: 'shopper' };
      assert.equal(passwordFromFile(place, other, {}, assert.fail), found, host);
    }
    const home = path.join(dir, '.pgpass');
    await fs.copyFile(file, home);
    await answers('shopper|shopper', tcp, null);
    await fs.chmod(home, 0o640);
    await refused(/WARNING: password file .* has group or world access[^]*no password supplied/, tcp, null);
    await fs.rm(home);
  });

  it('options, application_name, and the settings that libpq takes from the environment', async () => {
    await answers('64MB', socket, "options='-c work_mem=64MB'", 'show work_mem');
    await answers('63MB', { ...socket, PGOPTIONS: '-c work_mem=63MB' }, null, 'show work_mem');
    await answers('64MB', { ...socket, PGOPTIONS: '-c work_mem=63MB' }, "options='-c work_mem=64MB'", 'show work_mem'); // prettier-ignore
    await answers('mine', socket, 'application_name=mine', 'show application_name');
    await answers('mine', { ...socket, PGAPPNAME: 'mine' }, null, 'show application_name');
    await answers('psql', socket, 'fallback_application_name=mine', 'show application_name');
    const settings = { PGDATESTYLE: 'German, DMY', PGTZ: 'Asia/Tokyo', PGGEQO: 'off' };
    const shown = "select current_setting('datestyle'), current_setting('timezone'), current_setting('geqo')";
    await answers('German, DMY|Asia/Tokyo|off', { ...socket, ...settings }, null, shown);
  });

  it('connect_timeout: seconds, at least 2; 0 waits', async () => {
    const sockets: net.Socket[] = [];
    const mute = net.createServer((accepted) => void sockets.push(accepted.on('error', () => undefined)));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const env = { ...tcp, PGPORT: String((mute.address() as net.AddressInfo).port) };
    const begun = performance.now();
    let isWaiting = true;
    const patient = ask({ ...env, PGCONNECT_TIMEOUT: '2' }, 'connect_timeout=0').finally(() => (isWaiting = false)); // prettier-ignore
    await Promise.all([
      refused(/timeout expired/, env, 'connect_timeout=1'),
      refused(/timeout expired/, { ...env, PGCONNECT_TIMEOUT: '2' }, null),
    ]);
    assert.ok(performance.now() - begun > 1900, 'less than 2 s are taken for 2');
    assert.ok(isWaiting);
    for (const accepted of sockets) accepted.destroy();
    assert.equal((await patient).status, 2);
    await new Promise((resolve) => mute.close(resolve));
    await refused(/invalid integer value "soon"/, socket, 'connect_timeout=soon');
  });

  it('target_session_attrs: what the primary is, and is not', async () => {
    for (const wish of ['any', 'read-write', 'primary', 'prefer-standby']) {
      await answers('shopper|shopper', socket, `target_session_attrs=${wish}`);
      await answers('shopper|shopper', { ...socket, PGTARGETSESSIONATTRS: wish }, null);
    }
    await refused(/server is not in hot standby mode/, socket, 'target_session_attrs=standby');
    await refused(/session is not read-only/, { ...socket, PGTARGETSESSIONATTRS: 'read-only' }, null);
  });

  it('load_balance_hosts: the first that answers, or any', async () => {
    const query = 'select inet_server_addr() is null';
    const env = { ...tcp, PGPASSWORD: PASSWORD, PGHOST: `${cluster.socketDir},127.0.0.1` };
    const seen = async (more: Record<string, string>, string: string | null): Promise<string> => {
      const asked = Array.from({ length: 24 }, () => ask({ ...env, ...more }, string, query));
      return [...new Set((await Promise.all(asked)).map(({ stdout }) => stdout.trim()))].sort().join();
    };
    assert.equal(await seen({}, null), 't');
    assert.equal(await seen({ PGLOADBALANCEHOSTS: 'random' }, 'load_balance_hosts=disable'), 't');
    assert.equal(await seen({}, 'load_balance_hosts=random'), 'f,t'); // by chance not, once in 2^23 runs
    assert.equal(await seen({ PGLOADBALANCEHOSTS: 'random' }, null), 'f,t');
  });

  it('AURORA_HOME, when neither host nor address is given: its superuser, its port', async () => {
    const home = { AURORA_HOME: cluster.layout.root };
    const run = async (env: Record<string, string>): Promise<CliResult> =>
      aurora(['psql', '-X', '-w', '-At', '-d', 'postgres', '-c', "select current_user, inet_server_addr() is null"], { env: { HOME: dir, ...env } }); // prettier-ignore
    const [plain, user, host, address] = await Promise.all([
      run(home),
      run({ ...home, PGUSER: 'shopper' }),
      run({ ...home, PGHOST: '127.0.0.1', PGPORT: String(cluster.port), PGUSER: 'shopper', PGPASSWORD: PASSWORD }), // prettier-ignore
      run({ ...home, PGHOSTADDR: '127.0.0.1', PGPORT: '1' }),
    ]);
    assert.deepEqual(plain, { status: 0, stdout: `${cluster.superuser}|t\n`, stderr: '' });
    assert.equal(user.stdout, 'shopper|t\n');
    assert.equal(host.stdout, 'shopper|f\n');
    assert.match(address.stderr, /"127\.0\.0\.1", port 1 failed: Connection refused/);
  });

  it('the other commands: createdb, dropdb and isready take a string, config variables', async () => {
    const string = `host=/nonexistent,${cluster.socketDir} port=${cluster.port} user=shopper dbname=postgres`;
    const env = { HOME: dir };
    const created = await aurora(['createdb', '--maintenance-db', string, 'made'], { env });
    assert.deepEqual(created, { status: 0, stdout: '', stderr: '' });
    const byAddress = `host=nosuch.invalid hostaddr=127.0.0.1 port=${cluster.port}`;
    const [dropped, list, address, shown] = await Promise.all([
      aurora(['dropdb', '--maintenance-db', string, 'made'], { env }),
      aurora(['isready', '-d', string], { env }),
      aurora(['isready', '-d', byAddress], { env }),
      aurora(['config', 'get', 'application_name'], {
        env: { ...env, ...socket, PGAPPNAME: 'mine', PGDATABASE: 'nosuch' },
      }),
    ]);
    assert.deepEqual(dropped, { status: 0, stdout: '', stderr: '' });
    const ready = (host: string): CliResult => ({ status: 0, stdout: `${host}:${cluster.port} - accepting connections\n`, stderr: '' }); // prettier-ignore
    assert.deepEqual(list, ready(cluster.socketDir));
    assert.deepEqual(address, ready('nosuch.invalid'));
    assert.deepEqual([shown.status, shown.stdout.trim()], [0, 'mine'], shown.stderr);
  });

  it('what is accepted without effect, and what is refused', async () => {
    const harmless = {channel_binding: 'prefer', client_encoding: 'LATIN1', gssencmode: 'prefer', keepalives: '1', keepalives_count: '1', keepalives_idle: '1', keepalives_interval: '1', sslcompression: '1', sslsni: '0', tcp_user_timeout: '1' }; // prettier-ignore
    const all = Object.entries(harmless).map(([name, value]) => `${name}=${value}`);
    await answers('UTF8', socket, all.join(' '), 'show client_encoding');
    await answers('UTF8', socket, `postgresql:///?${all.join('&')}`, 'show client_encoding');
    for (const name of ['channel_binding', 'gssencmode'])
      await refused(new RegExp(`${name} value "require" is not supported`), socket, `${name}=require`);
    const unread = { PGCLIENTENCODING: 'LATIN1', PGCHANNELBINDING: 'require', PGGSSENCMODE: 'require', PGSERVICE: 'nosuch', PGSERVICEFILE: '/nonexistent', PGREQUIREPEER: 'nobody', PGKRBSRVNAME: 'x', PGREQUIREAUTH: 'none' }; // prettier-ignore
    await answers('UTF8', { ...socket, ...unread }, null, 'show client_encoding');
    assert.deepEqual(parametersFromEnv(unread), {});
    for (const name of [
      'service',
      'requirepeer',
      'krbsrvname',
      'gsslib',
      'require_auth',
      'sslcrl',
      'sslcertmode',
      'sslnegotiation',
      'ssl_min_protocol_version',
      'replication',
    ])
      // prettier-ignore
      assert.throws(() => parseConnectionString(`${name}=x`), new RegExp(`invalid connection option "${name}"`));
    await refused(/invalid connection option "service"/, socket, 'service=mine');
  });

  it('the variables of psql that need no terminal', async () => {
    const rc = path.join(dir, 'rc');
    await fs.writeFile(rc, '\\echo from the file\n');
    const { stdout } = await runOurs({ args: ['-At', '-c', 'select 1'] }, { ...socket, PSQLRC: rc });
    assert.equal(stdout, 'from the file\n1\n');
    // An editor that leaves what it was called with in the query.
    const editor = path.join(dir, 'editor');
    await fs.writeFile(editor, `#!/bin/sh\nfor name; do :; done\nprintf "select '%s'" "$*" > "$name"\n`, { mode: 0o755 }); // prettier-ignore
    const env = { ...socket, SHELL: '/bin/sh', TMPDIR: dir, PSQL_EDITOR_LINENUMBER_ARG: '--line=' };
    const edit = async (more: Record<string, string>, what: string): Promise<string> =>
      (await runOurs({ args: ['-X', '-At'], stdin: `select 1\\e ${what}\n;\n` }, { ...env, ...more })).stdout;
    const file = path.join(dir, 'query.sql');
    const choices: Record<string, string>[] = [
      { PSQL_EDITOR: editor, EDITOR: 'false' },
      { EDITOR: editor, VISUAL: 'false' },
      { VISUAL: editor },
    ];
    for (const more of choices) assert.equal(await edit(more, `${file} 3`), `--line=3 ${file}\n`);
    assert.match(await edit({ EDITOR: editor }, ''), new RegExp(`^${dir}/psql\\.edit\\..+`));
  });
});
