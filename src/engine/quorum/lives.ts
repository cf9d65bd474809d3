import type { Epoch, Life, LivesRecord, RegisterAnswer, RegisterRequest } from './types.js';

/**
 * How a node that lost its memory comes to vote again.
 *
 * A node is asked two things that it must not forget: promises (it refuses epochs below) and acknowledgements (it holds the log that it said
 * it holds). A node N that lost its disk may have given both. Each life of N, from one loss to the next, has a number; 0 is the first. N's
 * answers carry its life, and answers of an earlier life stop counting once a later one is known. N votes again in its new life n when
 *
 *  (1) `rejoinQuorum` voters have durably noted "N lives its nth life" and told their highest promise (registration). H, the ceiling, is the highest of
 *      these; N refuses every epoch below H, and promises only above H.
 *  (2) its log is durably in an epoch E >= H, and reaches at least E's first LSN.
 *  (3) if E = H: E's own writer has told N that it counts only answers of life n, with its commit LSN at that time, and N's log reaches that too.
 *
 * Why this is safe. V copies, write quorum Vw, elections by e = electQuorum > V/2 with e + Vw > V.
 *
 *  - A promise p given by N in an earlier life helps to elect nobody above H. An election that counts it needs e - 1 more grants, and
 *    rejoinQuorum >= V - e + 1 of the V - 1 others are registered, so one node Y both granted p and is registered. If Y granted first, then Y told
 *    p at registration, and p <= H. If it registered first, then its grant told the writer of life n, and the writer dropped N's old grant.
 *  - So N acknowledged log only for epochs <= H: an epoch that it acknowledged was elected before its loss, by at least e - 1 others, one of which is
 *    registered and told its promise.
 *  - What epochs below E committed is in E's log before E's first LSN: E was elected with a node that holds it, as always. N has that by (2). What
 *    E > H committed, N did not acknowledge in an earlier life. What E = H committed with N's old answers lies below the commit LSN of (3); from then on
 *    its writer counts life n only. So N holds all that was committed with its help, and lacks nothing that its vote would vouch for.
 *  - The log that N misses above that was committed without it, by Vw others: an election with N meets one of them, or (e + Vw > V) another.
 *
 * The notes are needed as long as old grants may travel, which is for ever; a node that loses them with its own disk must learn them anew. Any
 * rejoinQuorum >= e - 1 voters include one that has the note or is N itself: K = the registered and N are V - e + 2; with w nodes lost, K keeps at
 * least V - e + 2 - w of V - w voters, and e - 1 more than fill the rest. Hence rejoinQuorum = max(V - e + 1, e - 1), from voters only: what a
 * learner remembers proves nothing. It holds while fewer than Vw nodes are lost at once, as everything here.
 *
 * Two attempts of N to live the same life (it lost its disk again before it had registered) are told apart by a random token; two quorums of
 * registrations meet in a node (2 * rejoinQuorum > V - 1), which refuses the second and tells the number to exceed.
 */
export class Lives {
  /** Voters that have noted our life: the epoch that they had promised, and their own life then. */
  private confirmed = new Map<string, { readonly promisedEpoch: Epoch; readonly life: number }>();
  private readonly others: Map<string, Life>;
  private own: Life;
  private ceilingEpoch: Epoch | null;

  constructor(record: LivesRecord | undefined) {
    this.own = record?.own ?? FIRST_LIFE;
    this.ceilingEpoch = record?.ceiling ?? null;
    this.others = new Map(Object.entries(record?.others ?? {}));
  }

  /** Undefined while neither this node nor another ever lost its memory. */
  get record(): LivesRecord | undefined {
    if (this.own.life === 0 && this.others.size === 0) return undefined;
    return { own: this.own, ceiling: this.ceilingEpoch, others: Object.fromEntries(this.others) };
  }

  /** This node's life, as its answers say it: that of a registration in progress is not proven to be unique yet. */
  get current(): number {
    return this.own.token === '' || this.ceilingEpoch !== null ? this.own.life : 0;
  }

  /** H while this node, registered, waits to vote again; else null. */
  get ceiling(): Epoch | null {
    return this.ceilingEpoch;
  }

  get isBegun(): boolean {
    return this.own.token !== '';
  }

  /** Lives of other nodes, for writers. */
  get known(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.others].map(([id, { life }]) => [id, life]));
  }

  /** A loss was found: what was noted of an earlier registration is about another disk. */
  begin(token: string): void {
    this.own = { life: this.own.life + 1, token };
    this.ceilingEpoch = null;
    this.confirmed.clear();
  }

  request(nodeId: string): RegisterRequest {
    return { nodeId, ...this.own };
  }

  /** Another node registers. True when its life is new here and must be made durable before the answer. */
  register({ nodeId, life, token }: RegisterRequest): boolean {
    return this.note(nodeId, { life, token });
  }

  answer({ nodeId }: RegisterRequest, voter: boolean, promisedEpoch: Epoch): RegisterAnswer {
    const { life, token } = this.others.get(nodeId) ?? FIRST_LIFE;
    const others = Object.fromEntries(this.others);
    return { nodeId, life, token, voter, promisedEpoch, own: this.own, others };
  }

  /**
   * An answer to our registration from node `from`. Gives H once enough voters have answered, 'again' when the life's number was taken
   * and a higher one has been chosen (make that durable, then ask all again), else null.
   */
  answered(from: string, answer: RegisterAnswer, needed: number): Epoch | 'again' | null {
    if (this.own.token === '' || this.ceilingEpoch !== null) return null;
    if (answer.life > this.own.life || (answer.life === this.own.life && answer.token !== this.own.token)) {
      this.own = { ...this.own, life: answer.life + 1 };
      this.confirmed.clear();
      return 'again';
    }
    if (answer.life !== this.own.life || !answer.voter) return null;
    for (const [id, life] of Object.entries(answer.others)) if (id !== answer.nodeId) this.note(id, life);
    if (answer.own.life > 0) this.note(from, answer.own);
    this.confirmed.set(from, { promisedEpoch: answer.promisedEpoch, life: answer.own.life });
    // A voter that lost its own disk since may have lost the note with it.
    const valid = [...this.confirmed].filter(([id, { life }]) => life >= (this.others.get(id)?.life ?? 0));
    if (valid.length < needed) return null;
    this.ceilingEpoch = Math.max(...valid.map(([, { promisedEpoch }]) => promisedEpoch));
    return this.ceilingEpoch;
  }

  /** The volume has another configuration: a registration with voters of the former one proves nothing any more (membership.ts). */
  registerAnew(): void {
    this.ceilingEpoch = null;
    this.confirmed.clear();
  }

  /** This node votes again. */
  rejoined(): void {
    this.own = { life: this.own.life, token: '' };
    this.ceilingEpoch = null;
    this.confirmed.clear();
  }

  private note(nodeId: string, life: Life): boolean {
    if (life.life <= (this.others.get(nodeId)?.life ?? 0)) return false;
    this.others.set(nodeId, { life: life.life, token: life.token });
    return true;
  }
}

const FIRST_LIFE: Life = { life: 0, token: '' };
