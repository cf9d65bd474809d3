import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { QuorumConfig } from '../engine/quorum/config.js';
import { WriterCore } from '../engine/quorum/writer.js';
import type { StorageClient } from '../net/storage-client.js';
import type { StorageLinks } from './storage-links.js';

export interface Election {
  core: WriterCore;
  /** X: end of the last complete record in the donor's log; the first LSN of the new epoch. */
  recoveryLsn: Lsn;
}

const ATTEMPT_MS = 3000;
const ATTEMPTS_MAX = 10;
const GRACE_MS = 200;

/**
 * Claims a new epoch and finds where it starts (DESIGN.md section 6). After it, no older writer can commit anything.
 * Throws QUORUM_LOST when not enough nodes answer in time, EPOCH_CONTENDED when other writers keep taking newer epochs.
 */
export async function elect(
  links: StorageLinks,
  config: QuorumConfig,
  log: Logger,
  timeoutMs: number,
): Promise<Election> {
  const deadline = Date.now() + timeoutMs;
  const writerId = randomUUID();
  let beat = 0;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    await enoughNodes(links, config, deadline);
    const statuses = await Promise.allSettled(links.connected().map((client) => client.status(ATTEMPT_MS)));
    for (const status of statuses)
      if (status.status === 'fulfilled') beat = Math.max(beat, status.value.promisedEpoch);
    const core = new WriterCore({ config, writerId, epoch: beat + 1 });
    await gatherPromises(core, links, log);
    while (core.phase === 'elected') {
      const donor = core.donor!;
      const client = links.client(donor.nodeId);
      try {
        if (!client) throw new DbError('NET_CLOSED', 'its connection was lost');
        const tail = await client.logTail(Math.max(deadline - Date.now(), ATTEMPT_MS));
        core.lead(tail.recordEnd);
        log.info({ epoch: core.epoch, donor: donor.nodeId, lsn: formatLsn(tail.recordEnd) }, 'elected');
        return { core, recoveryLsn: tail.recordEnd };
      } catch (err) {
        log.warn({ node: donor.nodeId, err: errorMessage(err) }, 'donor cannot be read');
        core.dropGrant(donor.nodeId);
      }
    }
    beat = Math.max(beat, core.highestEpochSeen);
    if (core.phase !== 'fenced' && Date.now() > deadline) throw quorumLost(links, config);
  }
  throw new DbError(
    'EPOCH_CONTENDED',
    `other writers took a newer epoch ${ATTEMPTS_MAX} times in a row (the last one is ${beat})`,
    {
      hint: 'Another compute of this volume is starting or running; stop it first.',
    },
  );
}

/**
 * Asks every connected node. Returns once all have answered, or some time after enough have: more grants may name a better
 * donor (less to copy), but a node that hangs must not hold up the election.
 */
async function gatherPromises(core: WriterCore, links: StorageLinks, log: Logger): Promise<void> {
  const ask = async (client: StorageClient): Promise<void> => {
    try {
      core.onPromiseAnswer(client.nodeId, await client.promise(core.promiseRequest()));
    } catch (err) {
      log.warn({ node: client.nodeId, err: errorMessage(err) }, 'storage node did not answer the election');
    }
    if (core.phase === 'elected') grace ??= setTimeout(proceed, GRACE_MS);
  };
  let proceed = (): void => undefined;
  let grace: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (proceed = resolve));
  const late = setTimeout(proceed, ATTEMPT_MS);
  await Promise.race([limit, Promise.all(links.connected().map(ask))]);
  clearTimeout(late);
  clearTimeout(grace);
}

/** Waits until enough nodes are connected to be elected at all. */
async function enoughNodes(links: StorageLinks, config: QuorumConfig, deadline: number): Promise<void> {
  const enough = (): boolean => links.connected().length >= config.electQuorum;
  if (enough()) return;
  await new Promise<void>((resolve, reject) => {
    const done = (err?: DbError): void => {
      clearTimeout(timer);
      links.off('up', onUp);
      links.off('unusable', onUnusable);
      if (err) reject(err);
      else resolve();
    };
    const onUp = (): void => {
      if (enough()) done();
    };
    const onUnusable = (_: string, err: DbError): void => done(err);
    const timer = setTimeout(() => done(quorumLost(links, config)), Math.max(deadline - Date.now(), 0));
    links.on('up', onUp);
    links.on('unusable', onUnusable);
  });
}

function quorumLost(links: StorageLinks, config: QuorumConfig): DbError {
  return new DbError(
    'QUORUM_LOST',
    `not enough storage nodes answer: ${links.connected().length} of ${config.voters.length} are connected, ${config.electQuorum} are needed`,
    { hint: 'Start the missing storage nodes; look at them with: aurora status' },
  );
}
