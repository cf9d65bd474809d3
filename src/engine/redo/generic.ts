import { Rmgr } from '../wal/types.js';
import type { RmgrTable } from './types.js';

export const genericTable: RmgrTable = { rmid: Rmgr.Generic, name: 'Generic', opMask: 0xf0, ops: {} };

export function maskGeneric(_page: Buffer, _blkno: number): void {}
