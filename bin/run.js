#!/usr/bin/env node
/** The command "aurora": runs the bundle of all commands, dist/cli/aurora.cjs (made by bin/bundle.js). */
import { createRequire } from 'node:module';
import path from 'node:path';
import { requireWithCode } from './with-code.js';

const BUNDLE = path.join(import.meta.dirname, '..', 'dist', 'cli', 'aurora.cjs');
// Code made with special options would help nobody else.
const special = process.execArgv.length > 0 || process.env.NODE_OPTIONS || process.env.NODE_V8_COVERAGE;

// oclif would load the 47 files of semver with each command, only to compare Node.js's version with what it needs itself.
process.env.OCLIF_DISABLE_ENGINE_WARNING = '1';
// For stack traces that name the sources, Node.js has to load the bundle itself.
if (process.env.DEBUG) process.setSourceMapsEnabled(true);
const { execute } = process.env.DEBUG
  ? createRequire(BUNDLE)(BUNDLE)
  : requireWithCode(BUNDLE, () => !special);
delete process.env.OCLIF_DISABLE_ENGINE_WARNING;

// There are no plugins: to look for them in a home folder that may not be ours to read would only bring a warning.
await execute({
  loadOptions: { root: import.meta.filename, userPlugins: false, devPlugins: false },
});
