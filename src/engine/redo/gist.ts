import { Rmgr } from '../wal/types.js';
import type { RmgrTable } from './types.js';

export const gistTable: RmgrTable = { rmid: Rmgr.Gist, name: 'Gist', opMask: 0xf0, ops: {} };

export function maskGist(_page: Buffer, _blkno: number): void {}
