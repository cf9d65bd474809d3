export { Gossip } from './gossip.js';
export { firstIncarnation } from './member.js';
export { suspicionRounds } from './members.js';
export * from './types.js';
