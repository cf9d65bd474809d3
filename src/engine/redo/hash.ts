import { Rmgr } from '../wal/types.js';
import type { RmgrTable } from './types.js';

export const hashTable: RmgrTable = { rmid: Rmgr.Hash, name: 'Hash', opMask: 0xf0, ops: {} };

export function maskHash(_page: Buffer, _blkno: number): void {}
