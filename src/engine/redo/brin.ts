import { Rmgr } from '../wal/types.js';
import type { RmgrTable } from './types.js';

export const brinTable: RmgrTable = { rmid: Rmgr.BRIN, name: 'BRIN', opMask: 0x70, ops: {} };

export function maskBrin(_page: Buffer, _blkno: number): void {}
