/** RM_XLOG_ID (access/transam/xlog.c, PostgreSQL 18): of its records, only page images touch pages. */
import { Rmgr } from '../wal/types.js';
import { noEffect } from './no-effect.js';
import { redoError, type RedoOp, type RmgrTable } from './types.js';

/**
 * xlog_redo, XLOG_FPI and XLOG_FPI_FOR_HINT: the driver restores the images, of whatever kind of page; there never is a delta.
 * FPI_FOR_HINT carries no image when full_page_writes is off and then changes nothing.
 */
function imagesOnly(name: string, more: Pick<RedoOp, 'check' | 'leaves'>): RedoOp {
  return {
    name,
    redo() {
      throw redoError('REDO_BAD_RECORD', `${name} block without a page image`);
    },
    ...more,
  };
}

export const xlogTable: RmgrTable = {
  rmid: Rmgr.XLOG,
  name: 'XLOG',
  opMask: 0xf0,
  ops: {
    0x00: noEffect('CHECKPOINT_SHUTDOWN'),
    0x10: noEffect('CHECKPOINT_ONLINE'),
    0x20: noEffect('NOOP'),
    0x30: noEffect('NEXTOID'),
    0x40: noEffect('SWITCH'),
    0x50: noEffect('BACKUP_END'),
    0x60: noEffect('PARAMETER_CHANGE'),
    0x70: noEffect('RESTORE_POINT'),
    0x80: noEffect('FPW_CHANGE'),
    0x90: noEffect('END_OF_RECOVERY'),
    0xa0: imagesOnly('FPI_FOR_HINT', {
      check(rec) {
        if (rec.blocks.length !== 1)
          throw redoError('REDO_BAD_RECORD', 'FPI_FOR_HINT must reference one block');
      },
      leaves: () => true,
    }),
    0xb0: imagesOnly('FPI', {
      check(rec) {
        if (rec.blocks.length === 0 || !rec.blocks.every((b) => b.applyImage))
          throw redoError('REDO_BAD_RECORD', 'FPI must carry an image of each of its blocks');
      },
    }),
    0xd0: noEffect('OVERWRITE_CONTRECORD'),
    0xe0: noEffect('CHECKPOINT_REDO'),
  },
};
