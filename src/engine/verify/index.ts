/** Verification of redo against PostgreSQL's own page images, as other parts use it. */
export { formatMismatch, mismatchTitle } from './diff.js';
export { fileEffects } from './effects.js';
export { EMPTY_BASE, forkKey, MemoryPages } from './memory-pages.js';
export { LiveVerifier, type AppliedPages, type LiveVerifierOptions } from './live.js';
export { RedoVerifier } from './verifier.js';
export type {
  Application,
  BasePages,
  Database,
  ForkLocator,
  Mismatch,
  TypeCount,
  VerifierOptions,
  VerifyPages,
} from './types.js';
