/**
 * A bundle (bin/bundle.js) with what V8 compiled of it before. Compiling that each time would be a good part of a process's start. The code lies
 * beside the bundle; the first process after a build, or with another Node.js, writes it when it ends, if it may: where the package is
 * read-only, each process compiles anew.
 */
import { chmodSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import path from 'node:path';
import vm from 'node:vm';

function readIfThere(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined; // not there, or not for us to read
  }
}

/** What require(bundle) would return, sooner. `worthKeeping`: of a process that ends with this exit status, whether others should use its code. */
export function requireWithCode(bundle, worthKeeping) {
  const folder = path.dirname(bundle);
  // Of this bundle and no other; V8 itself compares only the length.
  const made = Math.trunc(statSync(bundle).mtimeMs).toString(36);
  const name = path.basename(bundle, '.cjs');
  const code = path.join(folder, `${name}-${made}-${process.version}-${process.arch}.code`);
  const require = createRequire(bundle);
  const source = Module.wrap(readFileSync(bundle, 'latin1'));
  const script = new vm.Script(source, { filename: bundle, cachedData: readIfThere(code) });
  // V8 refuses code that was cut short or made with other options than now.
  if (script.cachedDataRejected !== false)
    process.once('exit', (status) => worthKeeping(status) && keep(script, code));
  // oclif requires the bundle once more, to get at the commands in it: it must not get a second one.
  const module = new Module(bundle);
  require.cache[bundle] = module;
  script.runInThisContext()(module.exports, require, module, bundle, folder);
  module.loaded = true;
  return module.exports;
}

/** Whole or not at all: others may be reading it. */
function keep(script, code) {
  const scratch = `${code}.${process.pid}`;
  try {
    writeFileSync(scratch, script.createCachedData());
    chmodSync(scratch, 0o644);
    renameSync(scratch, code);
  } catch {
    rmSync(scratch, { force: true }); // the folder is not ours, or full: the next process compiles again
  }
}
