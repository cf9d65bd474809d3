#!/usr/bin/env node
/**
 * The command "aurora": runs the bundle of all commands, dist/cli/aurora.cjs (made by bin/bundle.js). Compiling that each time would be a
 * good part of a short command's time, so V8's compiled code is kept beside it. The first command after a build, or with another Node.js,
 * writes that code when it ends, if it may; where the package is read-only, commands compile each time.
 */
import { chmodSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import path from 'node:path';
import vm from 'node:vm';

const FOLDER = path.join(import.meta.dirname, '..', 'dist', 'cli');
const BUNDLE = path.join(FOLDER, 'aurora.cjs');
/** Of this bundle and no other; V8 itself compares only the length. */
const MADE = Math.trunc(statSync(BUNDLE).mtimeMs).toString(36);
const CODE = path.join(FOLDER, `${MADE}-${process.version}-${process.arch}.code`);

function readIfThere(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined; // not there, or not for us to read
  }
}

/** What require(BUNDLE) would return, sooner. */
function requireWithCode() {
  const require = createRequire(BUNDLE);
  const source = Module.wrap(readFileSync(BUNDLE, 'latin1'));
  const script = new vm.Script(source, { filename: BUNDLE, cachedData: readIfThere(CODE) });
  // V8 refuses code that was cut short or made with other options than now; what was made with special ones would help nobody else.
  const special = process.execArgv.length > 0 || process.env.NODE_OPTIONS || process.env.NODE_V8_COVERAGE;
  if (script.cachedDataRejected !== false && !special) process.once('exit', () => keepCode(script));
  // oclif requires the bundle once more, to get at the commands in it: it must not get a second one.
  const module = new Module(BUNDLE);
  require.cache[BUNDLE] = module;
  script.runInThisContext()(module.exports, require, module, BUNDLE, FOLDER);
  module.loaded = true;
  return module.exports;
}

/** Whole or not at all: others may be reading it. */
function keepCode(script) {
  const scratch = `${CODE}.${process.pid}`;
  try {
    writeFileSync(scratch, script.createCachedData());
    chmodSync(scratch, 0o644);
    renameSync(scratch, CODE);
  } catch {
    rmSync(scratch, { force: true }); // the folder is not ours, or full: the next command compiles again
  }
}

// oclif would load the 47 files of semver with each command, only to compare Node.js's version with what it needs itself.
process.env.OCLIF_DISABLE_ENGINE_WARNING = '1';
// For stack traces that name the sources, Node.js has to load the bundle itself.
if (process.env.DEBUG) process.setSourceMapsEnabled(true);
const { execute } = process.env.DEBUG ? createRequire(BUNDLE)(BUNDLE) : requireWithCode();
delete process.env.OCLIF_DISABLE_ENGINE_WARNING;

// There are no plugins: to look for them in a home folder that may not be ours to read would only bring a warning.
await execute({
  loadOptions: { root: import.meta.filename, userPlugins: false, devPlugins: false },
});
