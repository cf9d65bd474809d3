/**
 * node --import ./bin/compiled-tests.js: loads what `tsc -p test` made of a .ts file in its place, under the .ts file's name, so that paths from
 * import.meta stay what they are. A loader that transforms each file itself wraps every function in a call that keeps its name, which costs the
 * tests that compute a sixth of their time.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
/** outDir in test/tsconfig.json */
const compiled = path.join(root, 'node_modules', '.cache', 'compiled');
const TYPESCRIPT = /\.tsx?$/;

if (isMainThread) {
  process.setSourceMapsEnabled(true);
  register(import.meta.url);
}

/** Sources import each other by the name that the compiled file will have. */
export function resolve(specifier, context, next) {
  if (specifier.startsWith('.') && TYPESCRIPT.test(context.parentURL ?? '')) {
    const { href } = new URL(specifier, context.parentURL);
    for (const source of [href.replace(/\.js$/, '.ts'), href.replace(/\.js$/, '.tsx')])
      if (source !== href && existsSync(fileURLToPath(source)))
        return { url: source, format: 'module', shortCircuit: true };
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !TYPESCRIPT.test(url)) return next(url, context);
  const file = path.join(compiled, path.relative(root, fileURLToPath(url)).replace(TYPESCRIPT, '.js'));
  const text = await readFile(file, 'utf8');
  // The map lies beside the compiled file, which is not where the text says that it comes from.
  const source = text.replace(/^\/\/# sourceMappingURL=.*$/m, `//# sourceMappingURL=${file}.map`);
  return { format: 'module', source, shortCircuit: true };
}
