import type { Logger } from 'pino';
import { DbError, isDbError } from '../engine/errors.js';
import { formatLsn, lsn, type Lsn } from '../engine/lsn.js';
import type { LogStore } from '../engine/log/index.js';
import type { ScrubRun } from '../engine/pages/scrub.js';
import type { AppendAnswer, Configuration } from '../engine/quorum/index.js';
import { encodeBaseRows } from '../net/base-codec.js';
import { gossipMessage } from '../net/gossip-codec.js';
import { encodeManifest, slruName } from '../net/manifest-codec.js';
import * as m from '../net/messages.js';
import type { NodeStatus, Role } from '../net/node-status.js';
import { RefusalLog } from '../net/refusal-log.js';
import type { Session } from '../net/server.js';
import type { Of, Shape } from '../net/wire.js';
import type { ComputeRegistry } from '../engine/computes/registry.js';
import type { BaseService } from './base-service.js';
import type { CommittedLog } from './committed-log.js';
import type { GossipService } from './gossip-service.js';
import type { IngestLoop } from './ingest-loop.js';
import type { MembershipService } from './membership-service.js';
import type { LogReader } from './log-reader.js';
import type { AppendSink, LogService } from './log-service.js';
import type { PageService } from './page-service.js';
import type { ScrubService } from './scrub-service.js';
import type { VacuumService } from './vacuum-service.js';

export interface NodeParts {
  status(): NodeStatus;
  appliedLsn(): Lsn;
  log: LogStore;
  logService: LogService;
  logReader: LogReader;
  committed: CommittedLog;
  computes: ComputeRegistry;
  ingest: IngestLoop;
  pageService: PageService;
  base: BaseService;
  gossip: GossipService;
  vacuum: VacuumService;
  scrub: ScrubService;
  membership: MembershipService;
  onFatal(err: unknown): void;
}

/** Requests under way on one connection; more wait in the socket. */
const REQUESTS_MAX = 256;
/** Answers that a slow reader has not taken yet; requests wait until it has. */
const UNSENT_BYTES_MAX = 32 * 1024 * 1024;

/** A peer that compares asks for what this node said that it has applied. */
const DIGEST_WAIT_MS = 2000;

type Handler = (body: unknown, reply: Reply) => Promise<void> | void;

interface Reply {
  /** The connection that asked. */
  readonly via: unknown;
  send<S extends Shape>(message: m.Message<S>, body: Of<S>): void;
  /** A long answer in parts, at the reader's pace. */
  sendParts(bytes: Buffer): Promise<void>;
}

interface Route {
  roles: readonly Role[];
  handle: Handler;
}

/** What a node that is no member of the volume still answers: a writer of an old configuration learns the newer one from its refusals. */
const OUTSIDERS: readonly number[] = [
  m.GetStatus,
  m.GetGossip,
  m.Configure,
  m.GetConfiguration,
  m.Promise_,
  m.StartEpoch,
].map((question) => question.code);

const ANYONE: readonly Role[] = ['compute', 'peer', 'tool'];
const WRITERS: readonly Role[] = ['compute'];
const PEERS: readonly Role[] = ['peer'];
const TELLERS: readonly Role[] = ['compute', 'tool'];

/** The requests that a storage node answers, and to whom. */
export class NodeApi {
  requests = 0;
  failures = 0;
  private readonly routes = new Map<number, Route>();
  private readonly refusals: RefusalLog;

  constructor(
    private readonly parts: NodeParts,
    private readonly logger: Logger,
  ) {
    this.refusals = new RefusalLog(logger, 'request');
    this.logRoutes();
    this.pageRoutes();
    this.computeRoutes();
  }

  /** Serves a session until its connection ends. */
  attach(session: Session): void {
    const { connection, role, clientId, remote } = session;
    const logger = this.logger.child({ client: clientId, role, remote });
    logger.info('connected');
    const sink: AppendSink = { answer: (answer) => this.sendAppendAnswer(session, answer) };
    if (role === 'peer') this.parts.gossip.attach(clientId, connection);
    let inFlight = 0;
    connection.on('frame', (frame) => {
      if (frame.branch !== 0) {
        connection.fail(
          new DbError('NET_NO_BRANCH', `branch ${frame.branch} does not exist`, { reaction: 'usage' }),
          frame.requestId,
        );
        return;
      }
      if (this.parts.membership.isOutside && !OUTSIDERS.includes(frame.message.code)) {
        this.refuseOutside(session, frame);
        return;
      }
      if (m.isFrameOf(frame, m.Append)) {
        if (role !== 'compute') this.refuse(session, frame);
        else this.append(session, sink, frame.body);
        return;
      }
      if (m.isFrameOf(frame, m.Gossip) && role === 'peer') {
        this.parts.gossip.receive(clientId, gossipMessage(frame.body));
        return;
      }
      const route = this.routes.get(frame.message.code);
      if (!route?.roles.includes(role) || frame.requestId === 0) {
        this.refuse(session, frame);
        return;
      }
      if (inFlight >= REQUESTS_MAX) {
        connection.fail(
          new DbError('NODE_BUSY', `more than ${REQUESTS_MAX} requests at once`),
          frame.requestId,
        );
        return;
      }
      inFlight += 1;
      void this.serve(session, frame, route, logger).finally(() => {
        inFlight -= 1;
      });
    });
    connection.on('close', (err) => {
      this.parts.logService.forget(sink);
      this.parts.computes.disconnected(connection);
      logger.info({ reason: err?.message }, 'disconnected');
    });
  }

  private append(session: Session, sink: AppendSink, body: m.BodyOf<typeof m.Append>): void {
    if (body.bytes.length > m.APPEND_BYTES_MAX) {
      session.connection.close(new DbError('NET_FRAME_TOO_LONG', `append of ${body.bytes.length} bytes`));
      return;
    }
    try {
      this.parts.logService.append(sink, body);
    } catch (err) {
      this.parts.onFatal(err); // what a peer can do wrong has an answer; this is ours
    }
  }

  private sendAppendAnswer({ connection }: Session, answer: AppendAnswer): void {
    if (answer.kind === 'accepted')
      connection.send(m.Ack, {
        ...answer,
        learner: answer.learner ?? '',
        life: answer.life ?? 0,
        generation: answer.generation ?? 0,
        appliedLsn: this.parts.appliedLsn(),
      });
    else if (answer.kind === 'refused') connection.send(m.Refused, answer);
    else if (answer.kind === 'gap') connection.send(m.Gap, answer);
    else connection.send(m.NotStarted, answer);
  }

  private refuse(session: Session, frame: m.Frame): void {
    const err = new DbError('NET_PROTOCOL', `a ${session.role} may not send ${frame.message.name}`, {
      reaction: 'usage',
    });
    session.connection.fail(err, frame.requestId);
    if (frame.requestId === 0) session.connection.close(err);
  }

  /** Gossip is dropped: it may come from a peer that has not heard yet. */
  private refuseOutside(session: Session, frame: m.Frame): void {
    if (m.isFrameOf(frame, m.Gossip)) return;
    const { generation } = this.parts.membership.configuration!;
    const err = new DbError('NODE_REMOVED', `this node is no member of the volume as of generation ${generation}`, {
      hint: 'Stop it; its folder can be deleted. Members: aurora storage list',
    }); // prettier-ignore
    session.connection.fail(err, frame.requestId);
    if (frame.requestId === 0) session.connection.close(err);
  }

  private async serve(session: Session, frame: m.Frame, route: Route, logger: Logger): Promise<void> {
    const { connection } = session;
    this.requests += 1;
    const reply: Reply = {
      via: connection,
      send: (message, body) => connection.send(message, body, frame.requestId),
      sendParts: async (bytes) => {
        for (let at = 0, last = false; !last; at += m.PART_BYTES) {
          last = at + m.PART_BYTES >= bytes.length;
          connection.send(m.Part, { last, bytes: bytes.subarray(at, at + m.PART_BYTES) }, frame.requestId);
          await connection.drained(UNSENT_BYTES_MAX);
        }
      },
    };
    try {
      await connection.drained(UNSENT_BYTES_MAX);
      await route.handle(frame.body, reply);
    } catch (err) {
      this.failures += 1;
      // Fields that lie are the peer's fault, and come as fast as it likes.
      if (isDbError(err) && err.code.startsWith('WIRE_')) this.refusals.refused(session.remote, err);
      else if (!isDbError(err) || err.reaction === 'corrupt' || err.reaction === 'bug')
        logger.error({ err, request: frame.message.name, body: frame.body }, `${frame.message.name} failed`);
      connection.fail(err, frame.requestId);
    }
  }

  private route<S extends Shape>(
    message: m.Message<S>,
    roles: readonly Role[],
    handle: (body: Of<S>, reply: Reply) => Promise<void> | void,
  ): void {
    this.routes.set(message.code, { roles, handle: (body, reply) => handle(body as Of<S>, reply) });
  }

  private logRoutes(): void {
    const { log, logService, logReader } = this.parts;
    this.route(m.GetStatus, ANYONE, (_, reply) => reply.send(m.Status, { status: this.parts.status() }));
    this.route(m.GetGossip, ANYONE, (_, reply) =>
      reply.send(m.GossipViewOf, { view: this.parts.gossip.view() }),
    );
    this.route(m.RenewLease, ANYONE, ({ release, ...lease }, reply) =>
      reply.send(m.LeaseHeld, this.parts.vacuum.lease(lease, release)),
    );
    this.route(m.Promise_, WRITERS, (body, reply) => {
      const answer = logService.promise({ ...body, configuration: body.configuration ?? undefined });
      const { learner, history, life = 0, lives = {}, generation = 0, configuration = null } = answer;
      reply.send(m.PromiseReply, {
        ...answer,
        learner: learner ?? '',
        history: [...history],
        life,
        lives,
        generation,
        configuration,
      });
    });
    this.route(m.StartEpoch, WRITERS, async (body, reply) => {
      const answer = await logService.startEpoch({ ...body, configuration: body.configuration ?? undefined });
      const { learner, life = 0, generation = 0, configuration = null } = answer;
      reply.send(m.StartEpochReply, { ...answer, learner: learner ?? '', life, generation, configuration });
    });
    this.route(m.Register, PEERS, (body, reply) => {
      const answer = logService.register(body);
      const { others, configuration = null, settled = 0 } = answer;
      reply.send(m.Registered, { ...answer, others: { ...others }, configuration, settled });
    });
    const known = (): { configuration: Configuration | null; settled: number } => {
      const { configuration, settled } = this.parts.membership.status;
      return { configuration, settled };
    };
    this.route(m.Configure, TELLERS, ({ configuration, settled }, reply) => {
      logService.configure(configuration, settled);
      const now = known();
      reply.send(m.Configured, { generation: now.configuration?.generation ?? 0, settled: now.settled });
    });
    this.route(m.GetConfiguration, ANYONE, (_, reply) => reply.send(m.ConfigurationOf, known()));
    this.route(m.ReadLog, ANYONE, async ({ begin, end, maxBytes, epoch }, reply) => {
      if (begin < log.startLsn)
        throw new DbError('LOG_GONE', `this node's log begins at ${formatLsn(log.startLsn)}, after ${formatLsn(begin)}`, { reaction: 'retry' }); // prettier-ignore
      for (;;) {
        const { history, durableEnd } = log;
        const upTo = Math.min(end, durableEnd, begin + Math.min(maxBytes, m.APPEND_BYTES_MAX));
        const bytes = upTo > begin ? await log.readAsync(begin, lsn(upTo)) : Buffer.alloc(0);
        // A cut while reading: what was read is perhaps of the old history. The answer must be of one.
        if (log.history !== history) continue;
        logService.assertServesTail(epoch);
        reply.send(m.LogBytes, { begin, scl: durableEnd, history: [...history], bytes });
        return;
      }
    });
    this.route(m.GetLogTail, ANYONE, async ({ epoch }, reply) => {
      const tail = await logReader.tail();
      logService.assertServesTail(epoch); // as of now: a newer epoch may have begun while the log was read
      reply.send(m.LogTail, tail);
    });
    this.route(m.GetControlState, ANYONE, async (body, reply) =>
      reply.send(m.ControlStateAt, { state: await logReader.controlState(body.lsn) }),
    );
  }

  private computeRoutes(): void {
    const { committed, computes } = this.parts;
    const known = (reply: Reply): void => {
      const { promisedEpoch, promisedWriter, commitLsn } = this.parts.status();
      reply.send(m.ComputesKnown, {
        promisedEpoch,
        promisedTo: promisedWriter,
        commitLsn,
        computes: computes.list(performance.now()),
      });
    };
    this.route(m.ReadCommitted, ANYONE, async ({ begin, maxBytes, waitMs }, reply) => {
      const piece = await committed.read(begin, maxBytes, waitMs);
      reply.send(m.CommittedLog, { ...piece, history: [...piece.history] });
    });
    this.route(m.Beat, WRITERS, (beat, reply) => {
      computes.beat(beat, reply.via, performance.now());
      known(reply);
    });
    this.route(m.GetComputes, ANYONE, (_, reply) => known(reply));
  }

  private pageRoutes(): void {
    const { pageService, base, ingest, scrub } = this.parts;
    this.route(m.GetPages, ANYONE, async (body, reply) =>
      reply.send(m.Pages, { bytes: await pageService.getPages(body) }),
    );
    this.route(m.GetSlruPages, ANYONE, async (body, reply) =>
      reply.send(m.Pages, { bytes: await pageService.getSlruPages({ ...body, slru: slruName(body.slru) }) }),
    );
    this.route(m.GetRelationSize, ANYONE, async (body, reply) => {
      const nblocks = await pageService.relationSize(body);
      reply.send(m.RelationSize, { exists: nblocks !== null, nblocks: nblocks ?? 0 });
    });
    this.route(m.GetManifest, ANYONE, async (body, reply) =>
      reply.sendParts(encodeManifest(await pageService.manifest(body.lsn))),
    );
    this.route(m.GetBaseRows, PEERS, async (body, reply) =>
      reply.sendParts(encodeBaseRows(await base.rows(body.lsn))),
    );
    this.route(m.GetBasePages, PEERS, async (body, reply) =>
      reply.send(m.BasePages, { images: await base.relation(body) }),
    );
    this.route(m.GetBaseSlruPages, PEERS, async (body, reply) =>
      reply.send(m.BasePages, { images: await base.slru({ ...body, slru: slruName(body.slru) }) }),
    );
    const digests = async (run: ScrubRun, at: Lsn, reply: Reply): Promise<void> => {
      if (run.count < 1 || run.count > m.PAGES_MAX)
        throw new DbError('USAGE_PAGE_COUNT', `digests of ${run.count} pages asked for at once`);
      await ingest.waitApplied(at, DIGEST_WAIT_MS);
      const { crcs, unreadable } = await scrub.digest(run, at);
      const bytes = Buffer.alloc(4 * crcs.length);
      crcs.forEach((crc, i) => bytes.writeUInt32LE(crc, 4 * i));
      reply.send(m.PageDigests, { unreadable: [...unreadable].map((blkno) => ({ blkno })), crcs: bytes });
    };
    this.route(m.GetPageDigests, PEERS, ({ fork, blkno: first, count, lsn: at, ...rel }, reply) =>
      digests({ kind: 'pages', rel, fork, first, count }, at, reply),
    );
    this.route(m.GetSlruDigests, PEERS, ({ slru, blkno: first, count, lsn: at }, reply) =>
      digests({ kind: 'slru', slru: slruName(slru), first, count }, at, reply),
    );
    this.route(m.GetRowsDigest, PEERS, async (body, reply) => {
      await ingest.waitApplied(body.lsn, DIGEST_WAIT_MS);
      reply.send(m.RowsDigest, scrub.rows(body.lsn));
    });
    this.route(m.WaitApplied, ANYONE, async (body, reply) => {
      await ingest.waitApplied(body.lsn, body.timeoutMs);
      reply.send(m.Applied, { appliedLsn: this.parts.appliedLsn() });
    });
    this.route(m.GetPageVersions, ANYONE, async (body, reply) =>
      reply.send(m.PageVersions, { versions: await pageService.versions(body) }),
    );
  }
}
