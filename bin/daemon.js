#!/usr/bin/env node
/**
 * node bin/daemon.js storage|compute CONFIG.json: a daemon, from its bundle in dist/daemons/ (made by bin/bundle.js). The same as
 * dist/src/KIND/main.js CONFIG.json, with less processor time at the start.
 */
import { readFileSync } from 'node:fs';
import Module, { SourceMap } from 'node:module';
import path from 'node:path';
import { requireWithCode } from './with-code.js';

const [kind, ...args] = process.argv.slice(2);
if (kind !== 'storage' && kind !== 'compute') {
  console.error('usage: daemon.js storage|compute CONFIG.json');
  process.exit(2);
}
const BUNDLE = path.join(import.meta.dirname, '..', 'dist', 'daemons', `${kind}.cjs`);

let map;
/** Node.js reads no source map of a script with code of its own; it is read here, when the first stack trace is wanted. */
function inSources(frame) {
  if (frame.getFileName() !== BUNDLE) return String(frame);
  map ??= new SourceMap(JSON.parse(readFileSync(`${BUNDLE}.map`, 'utf8')));
  const line = frame.getLineNumber() - 1;
  const column = frame.getColumnNumber() - 1 - (line === 0 ? Module.wrapper[0].length : 0);
  const { originalSource, originalLine, originalColumn } = map.findEntry(line, column);
  if (originalSource === undefined) return String(frame);
  const place = `${path.resolve(path.dirname(BUNDLE), originalSource)}:${originalLine + 1}:${originalColumn + 1}`;
  return String(frame).replace(/\(?[^( ]*:\d+:\d+\)?$/, (was) =>
    was.startsWith('(') ? `(${place})` : place,
  );
}
Error.prepareStackTrace = (err, frames) =>
  [String(err), ...frames.map((frame) => `    at ${inSources(frame)}`)].join('\n');

// One that stopped in order has compiled what the next one will need.
const { run } = requireWithCode(BUNDLE, (status) => status === 0);
const status = await run(args);
if (process.connected) process.disconnect();
process.exit(status);
