import { Rmgr } from '../wal/types.js';
import type { RmgrTable } from './types.js';

export const ginTable: RmgrTable = { rmid: Rmgr.Gin, name: 'Gin', opMask: 0xf0, ops: {} };

export function maskGin(_page: Buffer, _blkno: number): void {}
