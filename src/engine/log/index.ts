export { LogStore } from './store.js';
export type { LogOptions, OpenReport } from './store.js';
export type { Damage } from './extents.js';
export { describeDamage } from './reader.js';
export type { ScrubReport } from './reader.js';
export { nodeFs } from './fs.js';
export type { LogFs } from './fs.js';
