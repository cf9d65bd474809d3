import { DbError } from '../engine/errors.js';
import type { LearnerReason } from '../engine/quorum/types.js';

/** A learner's reason on the wire: its text, '' for a voter. Throws WIRE_BAD_VALUE. */
export function learnerOf(text: string): LearnerReason | null {
  if (text === '') return null;
  if (text === 'amnesia' || text === 'damaged-log') return text;
  throw new DbError('WIRE_BAD_VALUE', `unknown learner reason "${text}"`);
}
