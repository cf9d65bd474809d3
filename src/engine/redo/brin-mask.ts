import { BRIN_EVACUATE_PAGE, brinFlags, brinPageType, BrinPageType, setBrinFlags } from '../page/brin.js';
import { PAGE_HEADER_SIZE, pdLower } from '../page/header.js';
import { maskHintBits, maskLsnAndChecksum, maskUnusedSpace } from './mask-common.js';

/** brin_mask. The hole of a range map page is its content, and is compared. Throws REDO_BAD_PAGE. */
export function maskBrin(page: Buffer): void {
  maskLsnAndChecksum(page);
  maskHintBits(page);
  const type = brinPageType(page);
  // A metapage made before PostgreSQL 11 may have its content in the hole, too.
  if (type === BrinPageType.regular || (type === BrinPageType.meta && pdLower(page) > PAGE_HEADER_SIZE))
    maskUnusedSpace(page);
  setBrinFlags(page, brinFlags(page) & ~BRIN_EVACUATE_PAGE);
}
