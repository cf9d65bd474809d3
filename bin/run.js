#!/usr/bin/env node
import { fileURLToPath } from 'node:url';

// oclif would load the 47 files of semver with each command, only to compare Node.js's version with what it needs itself.
process.env.OCLIF_DISABLE_ENGINE_WARNING = '1';
const { execute } = await import('@oclif/core');
delete process.env.OCLIF_DISABLE_ENGINE_WARNING;

// There are no plugins: to look for them in a home folder that may not be ours to read would only bring a warning.
await execute({
  loadOptions: { root: fileURLToPath(import.meta.url), userPlugins: false, devPlugins: false },
});
