/** The control state and the codecs of the files that carry it, as other parts use them. */
export { advance } from './advance.js';
export { CHECKPOINT_SIZE, encodeCheckpoint, parseCheckpoint, shutdownCheckpoint } from './checkpoint.js';
export {
  assertSupportedCluster,
  buildControlFile,
  CONTROL_FILE_SIZE,
  DbState,
  initialControlState,
  parseControlFile,
  type BuildControlOptions,
  type ControlFile,
} from './control-file.js';
export {
  encodeOrigins,
  encodeTwoPhaseFile,
  parseOrigins,
  parseTwoPhaseFile,
  parseTwoPhaseFileName,
  twoPhaseFileName,
  type OriginProgress,
} from './files.js';
export * from './names.js';
export { parseRelmap, RELMAP_SIZE, sealRelmap, type RelMapping } from './relmap.js';
export { absentSlruPages, slruPagesInUse, type SlruPageRange } from './start-facts.js';
export type { CheckPoint, ControlParameters, ControlState } from './state.js';
export { parseTwoPhaseState, type TwoPhaseState } from './twophase.js';
export { epochOf, fullXidNear, nextXidPast, xidOf, xidPrecedes } from './xid.js';
