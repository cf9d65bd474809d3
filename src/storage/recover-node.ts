import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { isDbError } from '../engine/errors.js';
import { formatLsn, lsn } from '../engine/lsn.js';
import { LogStore, type Damage } from '../engine/log/index.js';
import type { OnStoreFault } from '../engine/pages/rocks.js';
import { PageStore } from '../engine/pages/store.js';
import { Acceptor } from '../engine/quorum/index.js';
import type { StorageConfig } from './config.js';
import { DAMAGED_PAGES_FOLDER, LOG_FOLDER, PAGES_FOLDER } from './folders.js';
import { Identity } from './identity.js';

/** What a node is made of, opened. */
export interface NodeState {
  identity: Identity;
  log: LogStore;
  pages: PageStore;
  acceptor: Acceptor;
}

/**
 * Opens a node's folder and finds out what it still remembers. Identity, log and pages each prove the others: when one of them is
 * missing, or older than another says, the node is a learner, for it may have promised or acknowledged what it does not know any more.
 */
export async function recoverNode(
  config: StorageConfig,
  onDamage: (damage: Damage) => void,
  onStoreFault: OnStoreFault,
  logger: Logger,
): Promise<NodeState> {
  const { dir, nodeId, volumeId } = config;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // First, for its lock: a second process on this folder ends here.
  const pages = await openPages(config, onStoreFault, logger);
  try {
    const expected = { nodeId, volumeId };
    let identity = Identity.open(dir, expected);
    const hadIdentity = identity !== null;
    if (!identity) {
      Identity.create(dir, { ...expected, importLsn: lsn(0) }, true);
      identity = Identity.open(dir, expected)!;
    }
    try {
      const { log, lost } = await openLog(config, identity.generation, onDamage, logger);
      const record = identity.record();
      // Pages prove nothing while they are known to be absent.
      const noPages = pages.appliedLsn === 0 && !identity.pagesGivenUp;
      const known = lsn(Math.max(identity.commitLsn, pages.appliedLsn));
      const acceptor = Acceptor.recover(
        { ...record, amnesia: record.amnesia || noPages },
        lost ? null : log.logState,
        known,
      );
      if (config.configuration) acceptor.configuredAtStart(config.configuration, config.settled);
      identity.save(acceptor.identity, acceptor.readableLsn);
      const { learner, scl } = acceptor.state;
      if (learner)
        logger.error(
          {
            learner,
            hadIdentity,
            logLost: lost,
            pagesLost: noPages,
            scl: formatLsn(scl),
            floor: record.floor,
          },
          `this node is a learner (${learner}): it neither votes nor counts until it is repaired`,
        );
      return { identity, log, pages, acceptor };
    } catch (err) {
      identity.close();
      throw err;
    }
  } catch (err) {
    await pages.close();
    throw err;
  }
}

/** A store that cannot be opened because it is damaged is set aside, and an empty one takes its place: it is rebuilt from the peers. */
async function openPages(config: StorageConfig, onFault: OnStoreFault, logger: Logger): Promise<PageStore> {
  const { dir, nodeId, volumeId } = config;
  const folder = path.join(dir, PAGES_FOLDER);
  const options = { ...config.pages, onFault };
  try {
    return await PageStore.open(folder, options);
  } catch (err) {
    if (!isDbError(err, 'PAGE_STORE_DAMAGED')) throw err;
    logger.error(
      { err },
      `the pages of this node are damaged, and are rebuilt from its peers: ${err.message}`,
    );
    const identity = Identity.open(dir, { nodeId, volumeId });
    identity?.notePagesGivenUp(true);
    identity?.close();
    const aside = path.join(dir, DAMAGED_PAGES_FOLDER);
    rmSync(aside, { recursive: true, force: true });
    renameSync(folder, aside);
    return PageStore.open(folder, options);
  }
}

/** A log that is gone is replaced by an empty one, so that the rest of the node can say so. */
async function openLog(
  config: StorageConfig,
  generation: number,
  onDamage: (damage: Damage) => void,
  logger: Logger,
): Promise<{ log: LogStore; lost: boolean }> {
  const dir = path.join(config.dir, LOG_FOLDER);
  const { volumeId, nodeId, logFileBytes } = config;
  const options = { volumeId, nodeId, fileBytes: logFileBytes, onDamage };
  try {
    const log = await LogStore.open(dir, options);
    const { tornTail, bytesScanned } = log.report;
    logger.info({ scl: formatLsn(log.durableEnd), bytesScanned }, 'log opened');
    if (tornTail)
      logger.warn(
        tornTail,
        `torn tail of ${tornTail.file} cut off at offset ${tornTail.offset}: it was never acknowledged`,
      );
    for (const damage of log.damages) onDamage(damage);
    return { log, lost: false };
  } catch (err) {
    const unreadable = isDbError(err, 'LOG_DAMAGED');
    if (!unreadable && !isDbError(err, 'LOG_MISSING')) throw err;
    logger.error({ err }, `the log of this node is lost: ${err.message}`);
    if (unreadable && existsSync(dir)) renameSync(dir, `${dir}.damaged-${generation}`);
    return { log: await LogStore.create(dir, options, lsn(0), []), lost: true };
  }
}
