#!/usr/bin/env node
/**
 * npm test: everything that CI runs, in a fresh clone too. Installs the dependencies when they are missing, builds, checks types, style
 * and format, then runs the tests. Arguments go to mocha instead of the whole suite: npm test -- test/e2e/faults.test.ts
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const bin = (name) => path.join(root, 'node_modules', '.bin', name);

function step(what, command, args, env = {}) {
  console.log(`\n== ${what}`);
  const begun = Date.now();
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, AURORA_COMPILED_DAEMONS: '1', ...env },
  });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
  console.log(`== ${what}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
}

/** Side by side, each with its words in one piece at its end. Ends with the first status that is not 0, once all have ended. */
async function together(steps) {
  const begun = Date.now();
  const statuses = await Promise.all(
    steps.map(
      ([what, command, args, env = {}]) =>
        new Promise((resolve) => {
          const child = spawn(command, args, {
            cwd: root,
            stdio: ['ignore', 'pipe', 'pipe'],
            env: { ...process.env, ...env },
          });
          let said = '';
          for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
          child.once('error', (err) => {
            console.error(`${command}: ${err.message}`);
            resolve(1);
          });
          child.once('close', (status) => {
            console.log(`\n== ${what}: ${((Date.now() - begun) / 1000).toFixed(1)} s\n${said}`.trimEnd());
            resolve(status ?? 1);
          });
        }),
    ),
  );
  const failed = statuses.find((status) => status !== 0);
  if (failed !== undefined) process.exit(failed);
}

/** What starts whole clusters mostly waits for them: one test file more at a time than there are processors keeps these busy. */
const JOBS = availableParallelism() + 1;
/**
 * Node.js's options of the workers, in the place of those in .mocharc.json: they run what "types" compiled, which spares them tsx's wrapper around each
 * function, and have room for what tests make by the million and drop at once.
 */
const WORKERS = ['--node-option=import=./bin/compiled-tests.js', '--node-option=max-semi-space-size=32'];
/** Folders with the longest files: begun first, so that no processor is left with one of them at the end. */
const LONG_FIRST = ['e2e', 'storage', 'sim', 'psql', 'commands', 'engine'];

/** Every test file, in an order that lets JOBS of them run side by side to one end. */
function allTests() {
  const found = readdirSync(path.join(root, 'test'), { recursive: true }).filter((name) =>
    name.endsWith('.test.ts'),
  );
  const rank = (name) => LONG_FIRST.indexOf(name.split(path.sep)[0]) + 1 || LONG_FIRST.length + 1;
  const bySize = (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1);
  return found.sort(bySize).map((name) => path.join('test', name));
}

for (const program of ['psql', 'pgbench', 'cc']) {
  const found = spawnSync(program, ['--version'], { stdio: 'ignore' });
  if (!found.error) continue;
  console.error(
    `npm test needs "${program}": install PostgreSQL's client tools and a C compiler (Debian: apt-get install postgresql-15 gcc)`,
  );
  process.exit(1);
}
const modules = path.join(root, 'node_modules');
if (!existsSync(path.join(modules, '.package-lock.json')))
  step('install', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
/** What packages do once they are there. Where better-sqlite3's binary cannot be downloaded it is compiled, a minute for one processor: beside the rest, then. */
const native = existsSync(path.join(modules, 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node'))
  ? []
  : [['native', 'npm', ['rebuild', '--foreground-scripts'], { JOBS: 'max' }]];

const build = ['build', 'npm', ['run', '--silent', 'build']];
const chosen = process.argv.slice(2);
if (chosen.length > 0) {
  await together([...native, build]);
  step('tests', bin('mocha'), chosen);
} else {
  await together([
    ...native,
    build,
    ['types', bin('tsc'), ['-p', 'test']],
    ['lint', bin('eslint'), ['.', '--max-warnings', '0']],
    ['format', bin('prettier'), ['--check', '--log-level', 'warn', 'src', 'commands', 'test', 'bin']],
  ]);
  step('tests', bin('mocha'), [...WORKERS, '--parallel', '--jobs', String(JOBS), ...allTests()]);
}
