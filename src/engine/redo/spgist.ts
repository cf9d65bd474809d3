import { Rmgr } from '../wal/types.js';
import type { RmgrTable } from './types.js';

export const spgistTable: RmgrTable = { rmid: Rmgr.SPGist, name: 'SPGist', opMask: 0xf0, ops: {} };

export function maskSpgist(_page: Buffer, _blkno: number): void {}
