/** Every wrong input ends with one clear line on standard error, the right exit status, and nothing made on disk. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { aurora, tempFolder, type CliResult } from './cli.js';
import { assertFailed, runCases, type Cases } from './error-case.js';

describe('wrong input to the commands', function () {
  this.timeout(120_000);
  let dir: string;
  let remove: () => Promise<void>;
  let results: Map<string, Promise<CliResult>>;
  const at = (name: string): string => path.join(dir, name);
  /** A folder of its own for each: they run side by side, and each leaves one that was there before. */
  let folders = 0;
  const fresh = (): string => at(`new-${++folders}`);

  before(async () => {
    ({ dir, remove } = await tempFolder());
    await fs.mkdir(at('full'));
    await fs.writeFile(at('full/file'), 'mine');
    await fs.writeFile(at('empty-password'), '\n');
    await fs.writeFile(at('not-wal'), 'text');
    await fs.mkdir(at('no-wal'));
    results = runCases(usage);
  });
  after(() => remove());

  const loneNode = (flags: Record<string, string>): string[] => {
    const all = { '--node': '4', '--join': '127.0.0.1:1', '--listen': '127.0.0.1:1', '--secret-file': at('none'), '--volume': 'v', ...flags }; // prettier-ignore
    return ['storage', 'start', ...Object.entries(all).flat()];
  };

  const usage: Cases = {
    'no directory': () => ({ args: ['status'], status: 1, says: /no cluster directory specified/ }),
    'a directory that does not exist': () => ({
      args: ['status', '-D', at('none')],
      status: 4,
      says: /none" is not an OpenAurora cluster/,
    }),
    'start without a cluster': () => ({
      args: ['start', '-D', at('none')],
      status: 1,
      says: /not an OpenAurora cluster/,
    }),
    'stop without a cluster': () => ({
      args: ['stop', '-D', at('none')],
      status: 1,
      says: /not an OpenAurora cluster/,
    }),
    'an empty AURORA_HOME': () => ({
      args: ['stop'],
      status: 1,
      says: /AURORA_HOME unset/,
      options: { env: { AURORA_HOME: '' } },
    }),
    'an unknown flag': () => ({
      args: ['start', '--bogus'],
      status: 1,
      says: /unrecognized option "--bogus"/,
    }),
    'a flag without its value': () => ({ args: ['stop', '-D'], status: 1, says: /--pgdata expects a value/ }),
    'a port that is no number': () => ({ args: ['start', '-p', 'abc'], status: 1, says: /--port.*integer/ }),
    'a port out of range': () => ({
      args: ['initdb', '-D', fresh(), '-p', '70000'],
      status: 1,
      says: /--port.*65535/,
    }),
    'an unknown shutdown mode': () => ({
      args: ['stop', '-D', at('none'), '-m', 'silly'],
      status: 1,
      says: /--mode: unrecognized shutdown mode "silly"/,
    }),
    'too many arguments': () => ({
      args: ['dropdb', '-i', 'a', 'b'],
      status: 1,
      says: /too many .*\(first is "b"\)/,
    }),
    'a missing argument': () => ({ args: ['dropdb'], status: 1, says: /missing required argument "dbname"/ }),
    'initdb in a non-empty directory': () => ({
      args: ['initdb', '-D', at('full')],
      status: 1,
      says: /full" exists but is not empty/,
    }),
    'initdb below a file': () => ({
      args: ['initdb', '-D', at('full/file/sub')],
      status: 1,
      says: /full\/file/,
    }),
    'initdb with an unsafe quorum': () => ({
      args: ['initdb', '-D', fresh(), '--storage-nodes', '3', '--write-quorum', '1', '--read-quorum', '1'],
      status: 1,
      says: /quorum 3\/1\/1 .* is unsafe/,
    }),
    'initdb with no C compiler': () => ({
      args: ['initdb', '-D', fresh()],
      status: 1,
      says: /no C compiler: "\/nonexistent\/cc" was not found/,
      options: { env: { CC: '/nonexistent/cc' } },
    }),
    'initdb with no PostgreSQL': () => ({
      args: ['initdb', '-D', fresh()],
      status: 1,
      says: /\/nonexistent\/postgres/,
      options: { env: { AURORA_PG_BINDIR: '/nonexistent' } },
    }),
    'initdb with a missing password file': () => ({
      args: ['initdb', '-D', fresh(), '--pwfile', at('none')],
      status: 1,
      says: /could not open file ".*none" for reading: No such file or directory/,
    }),
    'initdb with an empty password file': () => ({
      args: ['initdb', '-D', fresh(), '--pwfile', at('empty-password')],
      status: 1,
      says: /password file ".*" is empty/,
    }),
    'initdb with a password prompt and nobody there': () => ({
      args: ['initdb', '-D', fresh(), '-W'],
      status: 1,
      says: /no password was given/,
    }),
    'initdb with a setting that does not exist': () => ({
      args: ['initdb', '-D', fresh(), '-c', 'nope=1'],
      status: 1,
      says: /initdb failed: unrecognized configuration parameter "nope"$/,
    }),
    'initdb with a bad value of a setting': () => ({
      args: ['initdb', '-D', fresh(), '--set', 'work_mem=abc'],
      status: 1,
      says: /initdb failed: invalid value for parameter "work_mem": "abc"$/,
    }),
    "initdb with an encoding that PostgreSQL's initdb refuses": () => ({
      args: ['initdb', '-D', fresh(), '-E', 'NOPE'],
      status: 1,
      says: /"NOPE" is not a valid server encoding name/,
    }),
    'initdb with an authentication method that does not exist': () => ({
      args: ['initdb', '-D', fresh(), '-A', 'bogus'],
      status: 1,
      says: /invalid authentication method "bogus"/,
    }),
    'createdb without a server': () => ({
      args: ['createdb', '-h', at('nobody'), 'x'],
      status: 1,
      says: /connection to server on socket ".*nobody\/.s.PGSQL.5432" failed: No such file or directory/,
    }),
    'inspect wal of nothing': () => ({
      args: ['inspect', 'wal', at('none')],
      status: 1,
      says: /could not open ".*none": No such file or directory/,
    }),
    'inspect wal of a folder without WAL': () => ({
      args: ['inspect', 'wal', at('no-wal')],
      status: 1,
      says: /no WAL segment files in/,
    }),
    'inspect wal of a file that is no segment': () => ({
      args: ['inspect', 'wal', at('not-wal')],
      status: 1,
      says: /is not a WAL segment file/,
    }),
    'inspect wal with a bad LSN': () => ({
      args: ['inspect', 'wal', '--start', 'zz'],
      status: 1,
      says: /--start: invalid WAL location: "zz"/,
    }),
    'inspect wal with an unknown resource manager': () => ({
      args: ['inspect', 'wal', '-r', 'Nope'],
      status: 1,
      says: /resource manager "Nope" does not exist/,
    }),
    'inspect wal with a block and no relation': () => ({
      args: ['inspect', 'wal', '-B', '1'],
      status: 1,
      says: /--block requires option --relation/,
    }),
    'inspect page with a bad block': () => ({
      args: ['inspect', 'page', '-D', at('none'), '1663/5/1259', 'x'],
      status: 1,
      says: /invalid block number: "x"/,
    }),
  };

  /** Arguments with which a command gets as far as asking for the cluster. */
  const commands: Record<string, string[]> = {
    'cert issue': ['node:4', '--host', '127.0.0.1', '-o', '/nowhere'],
    'cert list': [],
    'cert renew': [],
    'compute start': ['reader1'],
    'compute status': ['reader1'],
    'compute stop': ['reader1'],
    'config get': ['work_mem'],
    'config list': [],
    'config reset': ['work_mem'],
    'config set': ['work_mem=1MB'],
    controldata: [],
    'inspect gossip': [],
    'inspect leases': [],
    'inspect page': ['1663/5/1259', '0'],
    'inspect relation': ['1663/5/1259'],
    'inspect volume': [],
    'inspect wal': [],
    isready: [],
    logs: [],
    promote: ['reader1'],
    reload: [],
    'replica add': ['reader1'],
    'replica list': [],
    'replica remove': ['reader1'],
    restart: [],
    'storage add': ['4'],
    'storage list': [],
    'storage remove': ['2'],
    'storage replace': ['2'],
    'storage start': ['2'],
    'storage status': ['2'],
    'storage stop': ['2'],
    top: ['--once'],
  };
  /** Their flags are parsed as the others' are. */
  const NEWER = ['cert', 'compute', 'promote', 'replica', 'storage'];
  for (const [command, args] of Object.entries(commands)) {
    const words = command.split(' ');
    const status = command === 'isready' ? 3 : 1;
    if (!NEWER.includes(words[0]!))
      usage[`${command} with an unknown flag`] = () => ({
        args: [...words, ...args, '--bogus'],
        status,
        says: /unrecognized option "--bogus"/,
      });
    usage[`${command} without a cluster`] = () => ({
      args: [...words, ...args, '-D', at('none')],
      status,
      says: /none" is not an OpenAurora cluster/,
    });
  }
  Object.assign(usage, {
    'logs with a number that is none': () => ({
      args: ['logs', '-n', 'x'],
      status: 1,
      says: /--lines.*integer/,
    }),
    'top with an interval that is none': () => ({
      args: ['top', '-i', 'x'],
      status: 1,
      says: /--interval: expected a number of seconds/,
    }),
    'isready with a port that is none': () => ({ args: ['isready', '-p', '0'], status: 3, says: /--port/ }),
    'config set without a value': () => ({
      args: ['config', 'set', 'work_mem', '-D', at('none')],
      status: 1,
      says: /"work_mem" is not NAME=VALUE/,
    }),
    'import of a folder that is no data directory': () => ({
      args: ['import', at('full'), '-D', fresh()],
      status: 1,
      says: /full is not a PostgreSQL data directory/,
    }),
    'import into a non-empty directory': () => ({
      args: ['import', at('none'), '-D', at('full')],
      status: 1,
      says: /full" exists but is not empty/,
    }),
    'import of nothing': () => ({ args: ['import'], status: 1, says: /missing required argument "pgdata"/ }),
    'inspect relation that is none': () => ({
      args: ['inspect', 'relation'],
      status: 1,
      says: /missing required argument "relation"/,
    }),
    'inspect page --diff with a bad LSN': () => ({
      args: ['inspect', 'page', '-D', at('none'), '1663/5/1259', '0', '--diff', 'zz'],
      status: 1,
      says: /invalid WAL location: "zz"/,
    }),
    'inspect wal with two tables at once': () => ({
      args: ['inspect', 'wal', '--tps', '--chart'],
      status: 1,
      says: /--(tps|chart).*cannot also be provided/,
    }),
    'inspect leases with a word too many': () => ({
      args: ['inspect', 'leases', 'x'],
      status: 1,
      says: /^aurora inspect leases: error: too many command-line arguments \(first is "x"\)/,
      hint: /^Try "aurora inspect leases --help"/,
    }),
    'a missing node': () => ({
      args: ['storage', 'remove'],
      status: 1,
      says: /missing required argument "id"/,
    }),
    'a missing replica': () => ({ args: ['promote'], status: 1, says: /missing required argument "name"/ }),
    'storage add with a time limit that is none': () => ({
      args: ['storage', 'add', '--timeout', 'x'],
      status: 1,
      says: /--timeout.*integer/,
    }),
    'replica add with a port out of range': () => ({
      args: ['replica', 'add', 'reader1', '-p', '0'],
      status: 1,
      says: /--port.*greater than or equal to 1/,
    }),
    'replica add with a priority out of range': () => ({
      args: ['replica', 'add', 'reader1', '--failover-priority', '101'],
      status: 1,
      says: /--failover-priority.*less than or equal to 100/,
    }),
    'cert issue without a folder': () => ({
      args: ['cert', 'issue', 'node:4'],
      status: 1,
      says: /Missing required flag output/,
    }),
    'a node alone without its address': () => ({
      args: ['storage', 'start', '-D', fresh(), '--join', '127.0.0.1:1'],
      status: 1,
      says: /--join needs --listen/,
    }),
    'a node alone with a secret that is not there': () => ({
      args: loneNode({ '-D': fresh() }),
      status: 1,
      says: /could not read the cluster secret ".*none": No such file or directory/,
    }),
    'a node alone that joins no address': () => ({
      args: loneNode({ '-D': fresh(), '--join': 'zz' }),
      status: 1,
      says: /"zz" is no address/,
      hint: /HOST:PORT/,
    }),
    "a node alone in somebody else's folder": () => ({
      args: loneNode({ '-D': at('full') }),
      status: 1,
      says: /full" exists but is not empty/,
    }),
    'completion for an unknown shell': () => ({ args: ['completion', 'csh'], status: 1, says: /csh/ }),
  } satisfies typeof usage);

  for (const [name, make] of Object.entries(usage)) it(name, () => assertFailed(make(), results.get(name)));

  it('leaves nothing behind', async () => {
    const left = (await fs.readdir(dir)).sort();
    assert.deepEqual(left, ['empty-password', 'full', 'no-wal', 'not-wal']);
    assert.deepEqual(await fs.readdir(at('full')), ['file']);
  });

  it('as JSON too, for a command that prints JSON', async () => {
    const { status, stdout } = await aurora(['status', '-D', at('none'), '--json']);
    assert.equal(status, 4);
    assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, 'CLUSTER_MISSING');
  });
});
