#!/usr/bin/env node
// oclif would load the 47 files of semver with each command, only to compare Node.js's version with what it needs itself.
process.env.OCLIF_DISABLE_ENGINE_WARNING = '1';
const { execute } = await import('@oclif/core');
delete process.env.OCLIF_DISABLE_ENGINE_WARNING;

await execute({ dir: import.meta.url });
