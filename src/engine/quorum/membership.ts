import { DbError } from '../errors.js';
import { QuorumConfig } from './config.js';

/**
 * Who holds a volume, and how that changes while it is written.
 *
 * A configuration has a generation 1, 2, 3, ...; whoever keeps the cluster's manifest hands them out, one after the other. Generation n + 1 differs from
 * n in such a way (checkStep) that any two quorums that matter, one of each, share a node. A node keeps the newest generation that it has heard of in its
 * identity record, and every grant and every acknowledgement carries the generation that the node held, durably, when it gave it. A writer has one
 * generation at a time and counts only what carries exactly that one. A node refuses a writer of an older generation, and tells it the newer one, which
 * the writer then adopts: while it seeks election by beginning anew, while it leads by starting its epoch at all nodes again.
 *
 * Generation n is *settled* once a writer of some epoch E(n) has committed in it all that it had committed before: a write quorum of n's voters, each
 * holding n, has acknowledged at least the writer's commit LSN and the start of its epoch. Only then is n + 1 handed out.
 *
 * Why that is safe. A node's promised epoch and its generation only grow. Let g < h mean that h was handed out later.
 *
 *  - Epochs do not fall with generations: whoever is elected, or commits anything, in n + 1 has an epoch >= E(n), for its quorum shares a node with the write
 *    quorum that settled n; that node acknowledged E(n) while it held n, and gave its vote or acknowledgement while it held n + 1, so later. Hence E(n)
 *    <= E(n + 1) <= ..., and the same holds for every generation after n.
 *  - What epoch e committed in g is in the log of every epoch f > e. Let f be elected in q. If q and g are the same or neighbours, the two quorums share a node,
 *    as in one configuration. If g < q - 1: g + 1 was settled by an epoch E that holds what was committed in g (the quorum of that commit and the settling
 *    one share a node; it acknowledged e first, since it held g first, so e <= E; e = E is the same writer, whose commit LSN counts, and e < E is this
 *    argument again, one generation closer). E <= f by the first point, and f = E is impossible, because a writer's generation only grows. So go on from E's
 *    commit. If g > q + 1: q + 1 was settled, and f's election and the settling quorum share a node, which granted f first, so f <= E(q + 1) <= e: a
 *    contradiction.
 *  - Two writers are not elected in one epoch: in the same or neighbouring generations their election quorums share a node; else the settled one in
 *    between has an epoch at least as high as the first and lower than the second.
 *
 * A node that has lost its memory (lives.ts) may have granted something to a writer of any generation. It registers with voters that all hold one
 * settled generation g, and anew when it hears of another, before it may vote. An old grant in a generation before g elects nobody above E(g), and the
 * registered share a node with the quorum that settled g, so the ceiling H is at least E(g). In g itself lives.ts applies. In g + 1 it applies because
 * rejoin quorums and election quorums of neighbours share a node other than the lost one (checkStep). Beyond g + 1: the quorum that settled g + 1
 * shares with the registered a node that held g when it noted the new life, so before g + 2 was there, and the old grant came before the new life.
 *
 * A node that is added is a member without a vote first: it is sent the log, and rebuilt like one that lost its disk; its vote is the next step.
 */
export interface Member {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Failure domain, '' when there are none. */
  readonly zone: string;
  /** False: it follows the log, and does not count yet. */
  readonly voter: boolean;
}

export interface Configuration {
  readonly generation: number;
  readonly members: readonly Member[];
  readonly writeQuorum: number;
  readonly readQuorum: number;
}

export const MEMBERS_MAX = 32;
const GENERATION_MAX = 2 ** 48;
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const ZONE = /^[A-Za-z0-9_.-]{0,64}$/;

export function votersOf(configuration: Configuration): string[] {
  return configuration.members.filter((member) => member.voter).map((member) => member.id);
}

/** Throws USAGE_BAD_QUORUM. */
export function quorumOf(configuration: Configuration): QuorumConfig {
  const { writeQuorum, readQuorum } = configuration;
  return new QuorumConfig({ voters: votersOf(configuration), writeQuorum, readQuorum }, configuration);
}

/** The same nodes vote, by the same numbers; addresses may differ. */
export function sameConfiguration(a: Configuration, b: Configuration): boolean {
  const text = ({ generation, writeQuorum, readQuorum, members }: Configuration): string =>
    JSON.stringify([
      generation,
      writeQuorum,
      readQuorum,
      members.map(({ id, voter }) => `${id} ${voter}`).sort(),
    ]);
  return text(a) === text(b);
}

/** Throws MEMBER_UNSAFE_STEP unless `to` may follow `from`: see above for what must meet what. */
export function checkStep(from: Configuration, to: Configuration): void {
  const [a, b] = [quorumOf(from), quorumOf(to)];
  const union = new Set([...a.voters, ...b.voters]).size;
  const sizes = (c: QuorumConfig): string => `${c.voters.length}/${c.writeQuorum}/${c.readQuorum}`;
  const refuse = (why: string): never => {
    throw new DbError(
      'MEMBER_UNSAFE_STEP',
      `generation ${to.generation} (${sizes(b)} copies/write/read) may not follow generation ${from.generation} (${sizes(a)}): ${why}`,
      { reaction: 'usage', hint: 'Change one node at a time, or choose larger quorums.' },
    );
  };
  if (to.generation !== from.generation + 1) refuse('it is not the next one');
  if (a.writeQuorum + b.writeQuorum <= union) refuse('two write quorums could share no node');
  if (a.electQuorum + b.electQuorum <= union) refuse('two writers could be elected at once');
  if (a.electQuorum + b.writeQuorum <= union || a.writeQuorum + b.electQuorum <= union)
    refuse('a new writer could miss an acknowledged write');
  // The node that lost its memory counts on neither side.
  if (a.rejoinQuorum + Math.min(b.electQuorum, b.writeQuorum) - 1 <= union - 1)
    refuse('a node that lost its memory could vote again too early');
}

/** A configuration from a peer, a tool or a file. Throws MEMBER_BAD_CONFIGURATION, USAGE_BAD_QUORUM. */
export function parseConfiguration(value: unknown): Configuration {
  const bad = (what: string): never => {
    throw new DbError('MEMBER_BAD_CONFIGURATION', `a configuration with ${what}`, { reaction: 'usage' });
  };
  const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null;
  const whole = (v: unknown, min: number, max: number): v is number =>
    Number.isInteger(v) && (v as number) >= min && (v as number) <= max;
  if (!isObject(value)) return bad('no object');
  const { generation, members, writeQuorum, readQuorum } = value;
  if (!whole(generation, 1, GENERATION_MAX)) return bad('no generation');
  if (!whole(writeQuorum, 1, MEMBERS_MAX) || !whole(readQuorum, 1, MEMBERS_MAX)) return bad('no quorums');
  if (!Array.isArray(members) || members.length === 0 || members.length > MEMBERS_MAX)
    return bad(`not 1 to ${MEMBERS_MAX} members`);
  const parsed = members.map((member: unknown): Member => {
    if (!isObject(member)) return bad('a member that is none');
    const { id, host, port, zone, voter } = member;
    if (typeof id !== 'string' || !ID.test(id)) return bad('a member without a proper name');
    if (typeof host !== 'string' || host === '' || host.length > 255 || !whole(port, 0, 65_535))
      return bad(`no address of member ${id}`);
    if (typeof zone !== 'string' || !ZONE.test(zone) || typeof voter !== 'boolean')
      return bad(`no zone or vote of member ${id}`);
    return { id, host, port, zone, voter };
  });
  if (new Set(parsed.map(({ id }) => id)).size !== parsed.length) return bad('a member listed twice');
  const made: Configuration = { generation, members: parsed, writeQuorum, readQuorum };
  quorumOf(made);
  return made;
}
