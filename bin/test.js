#!/usr/bin/env node
/**
 * npm test: everything that CI runs, in a fresh clone too. Installs the dependencies when they are missing, builds, checks types, style
 * and format, then runs the tests. Arguments go to mocha instead of the whole suite: npm test -- test/e2e/faults.test.ts
 */
import { Buffer } from 'node:buffer';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const bin = (name) => path.join(root, 'node_modules', '.bin', name);

function step(what, command, args) {
  console.log(`\n== ${what}`);
  const begun = Date.now();
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, AURORA_COMPILED_DAEMONS: '1' },
  });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
  console.log(`== ${what}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
}

/** What needs whole clusters mostly waits for them; what else there is keeps the other core busy meanwhile, and is told afterwards. */
const CLUSTERS = ['cluster', 'commands', 'e2e'];

async function tests() {
  const found = readdirSync(path.join(root, 'test'), { recursive: true }).filter((name) =>
    name.endsWith('.test.ts'),
  );
  const folders = [...new Set(found.map((name) => name.split(path.sep)[0]))];
  const files = (names) => names.map((name) => `test/${name}/**/*.test.ts`);
  const others = folders.filter((name) => !CLUSTERS.includes(name));
  console.log('\n== tests');
  const begun = Date.now();
  const [first, second] = await Promise.all([mocha(files(CLUSTERS), true), mocha(files(others), false)]);
  process.stdout.write(second.output);
  console.log(`== tests: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  process.exitCode = first.status || second.status;
}

/** Runs to its end, whatever becomes of the other. */
function mocha(patterns, live) {
  const child = spawn(bin('mocha'), patterns, {
    cwd: root,
    stdio: ['ignore', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
    env: { ...process.env, AURORA_COMPILED_DAEMONS: '1' },
  });
  const parts = [];
  child.stdout?.on('data', (part) => parts.push(part));
  child.stderr?.on('data', (part) => parts.push(part));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status: status ?? 1, output: Buffer.concat(parts) }));
  });
}

for (const program of ['psql', 'pgbench', 'cc']) {
  const found = spawnSync(program, ['--version'], { stdio: 'ignore' });
  if (!found.error) continue;
  console.error(
    `npm test needs "${program}": install PostgreSQL's client tools and a C compiler (Debian: apt-get install postgresql-15 gcc)`,
  );
  process.exit(1);
}
if (!existsSync(path.join(root, 'node_modules', '.package-lock.json')))
  step('install', 'npm', ['ci', '--no-audit', '--no-fund']);

step('build', 'npm', ['run', '--silent', 'build']);
const chosen = process.argv.slice(2);
if (chosen.length > 0) {
  step('tests', bin('mocha'), chosen);
} else {
  step('types', bin('tsc'), ['-p', 'test']);
  step('lint', bin('eslint'), ['.', '--max-warnings', '0']);
  step('format', bin('prettier'), ['--check', '--log-level', 'warn', 'src', 'commands', 'test', 'bin']);
  await tests();
}
