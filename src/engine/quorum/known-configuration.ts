import { DbError } from '../errors.js';
import type { Configuration } from './membership.js';
import { checkStep, sameConfiguration } from './membership.js';
import type { MembershipRecord } from './types.js';

/** What a node knows of the volume's configuration; it only ever becomes newer. See membership.ts. */
export class KnownConfiguration {
  private known: MembershipRecord | undefined;

  constructor(record: MembershipRecord | undefined) {
    this.known = record;
  }

  get record(): MembershipRecord | undefined {
    return this.known;
  }

  get current(): Configuration | null {
    return this.known?.configuration ?? null;
  }

  get generation(): number {
    return this.known?.configuration.generation ?? 0;
  }

  /** Highest generation that is known to be settled; 0: fixed voters, which need no settling. */
  get settled(): number {
    return this.known?.settled ?? 0;
  }

  get isSettled(): boolean {
    return this.settled >= this.generation;
  }

  /**
   * Told of a configuration (perhaps an old one). True when the record is another now. Throws QUORUM_CONFIGURATION_CLASH when one generation comes in
   * two forms, MEMBER_UNSAFE_STEP when it may not follow ours: whoever handed it out was wrong, and following would lose data.
   */
  learn(configuration: Configuration | undefined, settled: number): boolean {
    if (!configuration) return false;
    const ours = this.known?.configuration;
    const { generation } = configuration;
    const isOther = ours !== undefined && ours !== configuration && generation === ours.generation;
    if (isOther && !sameConfiguration(ours, configuration))
      throw new DbError(
        'QUORUM_CONFIGURATION_CLASH',
        `generation ${generation} of the volume's configuration exists in two forms`,
        { reaction: 'usage', hint: 'Two manifests of this volume are in use; keep the newer one.' },
      );
    const isNewer = !ours || generation > ours.generation;
    if (isNewer && ours && generation === ours.generation + 1) checkStep(ours, configuration);
    const now = Math.max(this.settled, settled);
    if (!isNewer && now === this.settled) return false;
    this.known = { configuration: isNewer ? configuration : ours, settled: now };
    return true;
  }

  /** Addresses may have changed while nothing ran: those that this node was started with are right. */
  refresh(configuration: Configuration): boolean {
    const ours = this.known?.configuration;
    if (!ours || ours.generation !== configuration.generation) return false;
    if (JSON.stringify(ours) === JSON.stringify(configuration)) return false;
    if (!sameConfiguration(ours, configuration)) return this.learn(configuration, 0);
    this.known = { configuration, settled: this.settled };
    return true;
  }
}
