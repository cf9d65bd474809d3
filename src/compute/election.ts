import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { QuorumConfig } from '../engine/quorum/config.js';
import type { ControlState } from '../engine/control/index.js';
import { quorumOf } from '../engine/quorum/membership.js';
import { WriterCore } from '../engine/quorum/writer.js';
import { writerIdOf } from '../engine/computes/types.js';
import type { StorageClient } from '../net/storage-client.js';
import type { StorageLinks } from './storage-links.js';

export interface Election {
  core: WriterCore;
  /** X: end of the last complete record in the donor's log; the first LSN of the new epoch. */
  recoveryLsn: Lsn;
  /** The running checkpoint at X, from the donor's log: another node's may have been written by a writer that lost. */
  state: ControlState;
}

const ATTEMPT_MS = 3000;
/** Lost to a newer epoch so many times: somebody else is determined to write. */
const CONTENDED_MAX = 10;
const PAUSE_MS_MAX = 200;
const GRACE_MS = 200;

/**
 * Claims a new epoch and finds where it starts (DESIGN.md section 6). After it, no older writer can commit anything.
 * `initial` is what the compute knows of the volume's configuration; a newer one that a node tells is followed.
 * Throws QUORUM_LOST when not enough nodes answer in time, EPOCH_CONTENDED when other writers keep taking newer epochs.
 */
export async function elect(
  links: StorageLinks,
  initial: QuorumConfig,
  log: Logger,
  timeoutMs: number,
  /** The compute's name, for which the nodes keep the promise. */
  name = '',
): Promise<Election> {
  const deadline = performance.now() + timeoutMs;
  const writerId = writerIdOf(name, randomUUID());
  let beat = 0;
  let config = initial;
  for (let contended = 0; contended < CONTENDED_MAX;) {
    await enoughNodes(links, config, deadline);
    const statuses = await Promise.allSettled(links.connected().map((client) => client.status(ATTEMPT_MS)));
    for (const status of statuses)
      if (status.status === 'fulfilled') beat = Math.max(beat, status.value.promisedEpoch);
    const core = new WriterCore({ config, writerId, epoch: beat + 1 });
    await gatherPromises(core, links, log);
    const election = await leadFromDonor(core, links, log, deadline, timeoutMs);
    if (election) return election;
    beat = Math.max(beat, core.highestEpochSeen);
    if (core.newer) {
      log.info({ generation: core.newer.generation }, 'a node knows a newer configuration of the volume');
      links.follow(core.newer);
      config = quorumOf(core.newer);
      continue;
    }
    if (core.phase === 'fenced') contended++;
    else if (performance.now() > deadline) {
      const learners = core.allProgress().filter((node) => node.learner !== null);
      throw quorumLost(links, config, learners.length);
    }
    // Two that are elected at once would overtake each other for ever in step; nodes that are not ready need time.
    await new Promise((resolve) => setTimeout(resolve, Math.random() * PAUSE_MS_MAX));
  }
  throw new DbError(
    'EPOCH_CONTENDED',
    `other writers took a newer epoch ${CONTENDED_MAX} times in a row (the last one is ${beat})`,
    {
      hint: 'Another compute of this volume is starting or running; stop it first.',
    },
  );
}

/**
 * Reads the donor's log end and begins the epoch there; it may have much log to work off for that, so it gets the whole time.
 * Null when no donor is
 * left, or another writer has overtaken us.
 */
async function leadFromDonor(
  core: WriterCore,
  links: StorageLinks,
  log: Logger,
  deadline: number,
  timeoutMs: number,
): Promise<Election | null> {
  while (core.phase === 'elected' && !core.newer) {
    const donor = core.donor!;
    const client = links.client(donor.nodeId);
    const patienceMs = Math.max(deadline - performance.now(), ATTEMPT_MS);
    try {
      if (!client) throw new DbError('NET_CLOSED', 'its connection was lost');
      const { recordEnd } = await client.logTail(patienceMs, core.epoch);
      const state = await client.controlState({ lsn: recordEnd }, timeoutMs);
      const now = core.donor;
      // A promise that came meanwhile may have named a better donor: then X is to be found there.
      if (now?.nodeId !== donor.nodeId || now.scl !== donor.scl) continue;
      core.lead(recordEnd);
      log.info({ epoch: core.epoch, donor: donor.nodeId, lsn: formatLsn(recordEnd) }, 'elected');
      return { core, recoveryLsn: recordEnd, state };
    } catch (err) {
      log.warn({ node: donor.nodeId, err: errorMessage(err) }, 'donor cannot be read');
      core.dropGrant(donor.nodeId);
    }
  }
  return null;
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
  const asked = links.connected().filter(({ nodeId }) => core.isMember(nodeId));
  await Promise.race([limit, Promise.all(asked.map(ask))]);
  clearTimeout(late);
  clearTimeout(grace);
}

/** Waits until enough nodes are connected to be elected at all. */
async function enoughNodes(links: StorageLinks, config: QuorumConfig, deadline: number): Promise<void> {
  const enough = (): boolean => connectedVoters(links, config) >= config.electQuorum;
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
    // One node that refuses us is no reason to give up as long as the others can elect us.
    const onUnusable = (): void => {
      const refused = links.unusable;
      if (config.voters.length - refused.size < config.electQuorum) done([...refused.values()].at(-1));
    };
    const timer = setTimeout(
      () => done(quorumLost(links, config, 0)),
      Math.max(deadline - performance.now(), 0),
    );
    links.on('up', onUp);
    links.on('unusable', onUnusable);
    onUnusable();
  });
}

function connectedVoters(links: StorageLinks, config: QuorumConfig): number {
  return links.connected().filter(({ nodeId }) => config.isVoter(nodeId)).length;
}

function quorumLost(links: StorageLinks, config: QuorumConfig, learners: number): DbError {
  const rebuilt =
    learners > 0 ? ` (${learners} of them cannot vote: their log is damaged or being rebuilt)` : '';
  return new DbError(
    'QUORUM_LOST',
    `not enough storage nodes answer: ${connectedVoters(links, config)} of ${config.voters.length} are connected${rebuilt}, ${config.electQuorum} are needed`,
    { hint: 'Start the missing storage nodes; look at them with: aurora status' },
  );
}
