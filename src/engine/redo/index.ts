/** Redo, as other parts of the engine use it. */
export { applyRecord, applyReplayable, assertReplayable, changesBlock, type RedoResult } from './apply.js';
export { recordTypeName, redoTables } from './tables.js';
export { applyVmClear, implicitVmClears, type VmClear } from './vm-clear.js';
export { maskPage } from './mask.js';
export { compareWithImage, type PageMismatch } from './verify.js';
export type { PageRedo, RedoContext, RedoOp, RmgrTable } from './types.js';
