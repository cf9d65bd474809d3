/**
 * What the computes of a volume tell of themselves. Each sends its beat to every storage node several times a second; a node
 * remembers the newest of each, in memory, and answers with all that it remembers. So computes know of each other without ever
 * talking to each other, and what a read quorum of nodes says of the primary is what an election would find.
 */
import type { Lsn } from '../lsn.js';

export const COMPUTE_ROLES = ['primary', 'replica'] as const;
export type ComputeRole = (typeof COMPUTE_ROLES)[number];

/**
 * A primary that ended on purpose:
 *   stopped   somebody stopped it, and wants it so: nobody takes over
 *   handover  a planned switchover: `successor` takes over
 */
export const RESIGNATIONS = ['no', 'stopped', 'handover'] as const;
export type Resignation = (typeof RESIGNATIONS)[number];

export interface ComputeBeat {
  readonly name: string;
  readonly role: ComputeRole;
  /** ComputeState of the compute daemon: starting, running, promoting, ... */
  readonly state: string;
  /** Of a primary: its epoch, 0 while it has none. Of a replica: the newest epoch whose log it relays. */
  readonly epoch: number;
  /** Where clients reach its PostgreSQL. */
  readonly host: string;
  readonly port: number;
  /** Replica: up to where it has received and replayed the log. Primary: both are the commit LSN. */
  readonly receivedLsn: Lsn;
  readonly replayLsn: Lsn;
  /** Replica: for how long the oldest log that it has not replayed has waited. */
  readonly lagMs: number;
  /** A replica with a higher one is promoted rather than another. */
  readonly priority: number;
  /** Whether it may be promoted without a person. */
  readonly failover: boolean;
  /** The oldest transactions that a replica's queries may still look at, epoch * 2^32 + xid; 0 = none. */
  readonly xmin: number;
  readonly catalogXmin: number;
  /** A replica cannot start from the checkpoints up to here and asks the primary for a new one; 0 = it does not. */
  readonly checkpointAfter: Lsn;
  readonly resigned: Resignation;
  readonly successor: string;
}

/** A beat as a storage node remembers it. */
export interface KnownCompute extends ComputeBeat {
  /** Since it came. */
  readonly ageMs: number;
  /** Whether the connection that it came over is still there. */
  readonly connected: boolean;
}

export interface ComputesView {
  readonly promisedEpoch: number;
  /** writerId of that epoch's writer; see writerIdOf(). */
  readonly promisedTo: string;
  readonly commitLsn: Lsn;
  readonly computes: readonly KnownCompute[];
}

/** A writer's id in elections: unique for each attempt, and it names the compute, so that nodes know for good who wrote last. */
export function writerIdOf(compute: string, unique: string): string {
  return `${compute}:${unique}`;
}

/** Null for an id that names no compute. */
export function computeOfWriter(writerId: string): string | null {
  const at = writerId.indexOf(':');
  return at > 0 ? writerId.slice(0, at) : null;
}
