#!/usr/bin/env node
/**
 * Part of npm run build: all commands and the packages that they use as one file, dist/cli/aurora.cjs, and each daemon likewise, in
 * dist/daemons/. Most of a start was finding, reading and compiling some hundred small files, whatever it was then for. Bundles are made of
 * the sources, not of what tsc writes to dist/.
 *
 * - Each module of a command stays a function that runs when it is first imported, so a command still runs only what it uses.
 * - They are CommonJS, because V8's compiled code can be kept for a script and, in Node.js 20, not for an ES module (bin/with-code.js).
 * - They are strict, as ES modules are, and as all but a few of the packages are by themselves.
 * - COMMANDS is what oclif's "explicit" strategy wants (package.json), with a getter for each file in commands/.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const ROOT = path.dirname(import.meta.dirname);
const OUT = path.join(ROOT, 'dist', 'cli');
const DAEMONS = path.join(ROOT, 'dist', 'daemons');

/** Loaded from node_modules, when they are used at all. */
const EXTERNAL = [
  // native code, found relative to the package's own files
  '@nxtedition/rocksdb',
  'better-sqlite3',
  '@node-rs/crc32',
  // large, and only for making certificates
  '@peculiar/x509',
  'reflect-metadata',
  // named in branches of oclif and pg that are not taken here
  'pg-native',
  'pnpapi',
  'semver',
  'typescript',
];

/**
 * ink must be imported as ES modules (it awaits while it loads), and V8 forgets how to import in code that was kept. So live views
 * come from dist/src, by way of a file of their own; what they import there has no state.
 */
const liveViews = {
  name: 'live views',
  setup({ onResolve }) {
    onResolve({ filter: /\/src\/ui\/live\.js$/ }, () => ({ path: './live.cjs', external: true }));
  },
};
const LIVE = `exports.showLive = async (...given) => (await import('../src/ui/live.js')).showLive(...given);\n`;

const commands = readdirSync(path.join(ROOT, 'commands'), { recursive: true })
  .filter((name) => name.endsWith('.ts'))
  .sort()
  .map((name) => {
    const id = name.slice(0, -'.ts'.length).replaceAll(path.sep, ':');
    return `get ${JSON.stringify(id)}() { return require(${JSON.stringify(`./commands/${name}`)}).default; },`;
  });

/** What all bundles have in common. */
const COMMON = {
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  external: EXTERNAL,
  // Names stay as they are, for stack traces.
  minifyWhitespace: true,
  // ASCII, so that a byte is a character: bin/with-code.js reads it as latin1, which costs V8 half the memory and no decoding.
  charset: 'ascii',
  sourcemap: true,
  sourcesContent: false,
  supported: { 'dynamic-import': false },
  banner: { js: '"use strict";const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
  define: { 'import.meta.url': 'importMetaUrl' },
  metafile: true,
  logLevel: 'warning',
};

const commandsMade = await build({
  ...COMMON,
  stdin: {
    contents: `export { execute } from '@oclif/core';\nexport { default as commandNotFound } from './src/cluster/command-not-found.ts';\nexport const COMMANDS = {\n${commands.join('\n')}\n};\n`,
    resolveDir: ROOT,
    sourcefile: 'main.js',
  },
  outfile: path.join(OUT, 'aurora.cjs'),
  plugins: [liveViews],
});
const daemonsMade = await build({
  ...COMMON,
  entryPoints: ['storage', 'compute'].map((kind) => ({
    in: path.join(ROOT, 'src', kind, 'main.ts'),
    out: kind,
  })),
  outdir: DAEMONS,
  outExtension: { '.js': '.cjs' },
});
writeFileSync(path.join(OUT, 'live.cjs'), LIVE);
// What V8 compiled of earlier bundles.
for (const folder of [OUT, DAEMONS])
  for (const name of readdirSync(folder)) if (name.includes('.code')) rmSync(path.join(folder, name));

/** The licences of the packages whose code is now in these bundles. */
function licences({ metafile }) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const [folder] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? [];
    if (folder !== undefined) packages.add(folder);
  }
  return [...packages].sort().map((folder) => {
    const { name, version, license } = JSON.parse(
      readFileSync(path.join(ROOT, folder, 'package.json'), 'utf8'),
    );
    const file = readdirSync(path.join(ROOT, folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : readFileSync(path.join(ROOT, folder, file), 'utf8').trim();
    return `== ${name} ${version}, ${license}\n\n${text}\n`;
  });
}
writeFileSync(path.join(OUT, 'LICENSES.txt'), licences(commandsMade).join('\n'));
writeFileSync(path.join(DAEMONS, 'LICENSES.txt'), licences(daemonsMade).join('\n'));
