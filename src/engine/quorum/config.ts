import { DbError } from '../errors.js';
import type { Configuration } from './membership.js';

export interface QuorumOptions {
  /** Node ids that hold a copy of the log: V of them, no duplicates. */
  voters: readonly string[];
  /** Vw: copies that must be durable before a byte is acknowledged. */
  writeQuorum: number;
  /** Vr: copies that must be asked to find every acknowledged byte. */
  readQuorum: number;
}

/** What a volume of so many copies gets when nobody says otherwise: a majority writes, except 4 of 6 (a zone of two may be gone). */
export function defaultQuorum(copies: number): { writeQuorum: number; readQuorum: number } {
  const writeQuorum = copies === 6 ? 4 : Math.floor(copies / 2) + 1;
  return { writeQuorum, readQuorum: copies - writeQuorum + 1 };
}

/**
 * Who votes, and how many make a quorum. Immutable: a change of membership makes a new one (membership.ts).
 *
 * Throws USAGE_BAD_QUORUM unless Vr + Vw > V (a reader meets every acknowledged byte) and 2 * Vw > V (two write quorums meet).
 */
export class QuorumConfig {
  readonly voters: readonly string[];
  readonly writeQuorum: number;
  readonly readQuorum: number;
  /**
   * Promises needed to be elected: Vr, but never less than a majority. With 6/4/3 two writers could otherwise each gather 3
   * promises for the same epoch and leave two different logs under one epoch number. It costs no availability: a writer
   * needs Vw nodes to get anything acknowledged, and Vw is a majority.
   */
  readonly electQuorum: number;
  /** Other voters that must note a new life of a node that lost its memory before it votes again; see lives.ts. */
  readonly rejoinQuorum: number;

  /** `configuration`: what it was made of; null where voters are fixed, as generation 0. */
  constructor(
    options: QuorumOptions,
    readonly configuration: Configuration | null = null,
  ) {
    const v = options.voters.length;
    const { writeQuorum: vw, readQuorum: vr } = options;
    const sizes = `${v}/${vw}/${vr}`;
    const bad = (why: string): never => {
      throw new DbError('USAGE_BAD_QUORUM', `quorum ${sizes} (copies/write/read) is unsafe: ${why}`, {
        hint: 'Write + read quorum must exceed the number of copies, and the write quorum must be a majority.',
      });
    };
    if (new Set(options.voters).size !== v) bad('a node is listed twice');
    if (!Number.isInteger(vw) || !Number.isInteger(vr) || vw < 1 || vr < 1 || vw > v || vr > v)
      bad('a quorum is not between 1 and the number of copies');
    if (vr + vw <= v) bad('a read quorum could miss an acknowledged write');
    if (2 * vw <= v) bad('two write quorums could be disjoint');
    this.voters = [...options.voters];
    this.writeQuorum = vw;
    this.readQuorum = vr;
    this.electQuorum = electQuorumOf(v, vr);
    this.rejoinQuorum = rejoinQuorumOf(v, vw, vr);
  }

  get generation(): number {
    return this.configuration?.generation ?? 0;
  }

  /** All that hold a copy or are on their way to. */
  get members(): readonly string[] {
    return this.configuration?.members.map(({ id }) => id) ?? this.voters;
  }

  isVoter(nodeId: string): boolean {
    return this.voters.includes(nodeId);
  }
}

function electQuorumOf(copies: number, readQuorum: number): number {
  return Math.max(readQuorum, Math.floor(copies / 2) + 1);
}

/**
 * For who knows the numbers but not the names of the voters: a storage node. The first three terms are lives.ts's own; the last two let a step of
 * membership to the usual next larger and smaller volume keep what membership.ts needs.
 */
export function rejoinQuorumOf(copies: number, writeQuorum: number, readQuorum: number): number {
  const elect = electQuorumOf(copies, readQuorum);
  const neighbour = (v: number): number => {
    const { readQuorum: vr } = defaultQuorum(v);
    return Math.max(copies, v) - electQuorumOf(v, vr) + 1;
  };
  const own = Math.max(copies - elect + 1, elect - 1, copies - writeQuorum + 1);
  return Math.max(own, neighbour(copies + 1), copies > 1 ? neighbour(copies - 1) : 0);
}
