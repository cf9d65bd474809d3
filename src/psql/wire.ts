/**
 * The protocol as psql needs it: raw text values, every result of a query string in order, COPY in both directions,
 * notices in their place between results. pg's client connects and authenticates; from there on we read its messages.
 */
import net from 'node:net';
import type pg from 'pg';
import { encodeText } from './text.js';
import type { Field, TextRow } from './wire-types.js';
import type { ServerMessage } from './server-message.js';

/** Everything a query yields, in the order of the wire. */
export type QueryEvent =
  | { kind: 'notice'; notice: ServerMessage }
  | { kind: 'rows'; fields: Field[]; rows: TextRow[] } // a portion, when portions were asked for
  | { kind: 'tuples'; fields: Field[]; rows: TextRow[]; tag: string }
  | { kind: 'command'; tag: string }
  | { kind: 'empty' }
  | { kind: 'error'; error: ServerMessage }
  | { kind: 'copy-in'; binary: boolean }
  | { kind: 'copy-out' }
  | { kind: 'copy-data'; chunk: Buffer }
  | { kind: 'copy-done' }
  | { kind: 'description'; fields: Field[] } // of a statement that was only described
  | { kind: 'lost' };

export interface Notification {
  channel: string;
  payload: string;
  processId: number;
}

/** What pg-protocol's parser gives us; `name` tells which of the fields are there. */
interface Message extends ServerMessage {
  name: string;
  fields?: Field[] | TextRow;
  text?: string;
  status?: string;
  binary?: boolean;
  chunk?: Buffer;
  parameterName?: string;
  parameterValue?: string;
  processID?: number;
  processId?: number;
  secretKey?: number;
  channel?: string;
  payload?: string;
}

/** Members of pg's connection that its type declarations leave out. */
interface CopyConnection extends pg.Connection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
}

/** Events not yet taken; more makes the socket wait. */
const QUEUE_LIMIT = 1000;

export class Wire {
  readonly parameters = new Map<string, string>();
  readonly notifications: Notification[] = [];
  /** Notices that came while no query ran. */
  onIdleNotice: (notice: ServerMessage) => void = () => undefined;
  processId = 0;
  /** Transaction state: Idle, in a Transaction, in a failed one (E). */
  status: 'I' | 'T' | 'E' = 'I';
  isLost = false;
  /** The last words of a server that closed the connection while idle. */
  lastFatal: ServerMessage | null = null;
  usedPassword = false;

  private secretKey = 0;
  private queue: QueryEvent[] = [];
  private waiting: (() => void) | null = null;
  private ready = true;
  private fields: Field[] | null = null;
  private rows: TextRow[] = [];
  private portion = 0;

  private constructor(readonly client: pg.Client) {}

  /** Listens before the client connects, so that nothing of the startup is missed. */
  static attach(client: pg.Client): Wire {
    const wire = new Wire(client);
    client.connection.on('message', (message: Message) => wire.receive(message));
    const lost = (): void => wire.lose();
    client.on('error', lost);
    client.on('end', lost);
    return wire;
  }

  /** Whether a query is running. */
  get isBusy(): boolean {
    return !this.ready;
  }

  private get connection(): CopyConnection {
    return this.client.connection as CopyConnection;
  }

  /** Sends a query string. `portion` > 0: rows come in portions of that many. */
  query(text: string, portion = 0): void {
    this.begin(portion);
    const bytes = encodeText(text);
    this.submit((connection) => {
      if (typeof bytes === 'string') connection.query(bytes);
      else connection.stream.write(queryMessage(bytes));
    });
  }

  /** Parses and describes a statement without running it. */
  describe(text: string): void {
    this.begin(0);
    this.submit((connection) => {
      connection.parse({ name: '', text, types: [] }, true);
      connection.describe({ type: 'S', name: '' }, true);
      connection.sync();
    });
  }

  /** Runs a statement with parameters. */
  bind(text: string, values: (string | null)[]): void {
    this.begin(0);
    this.submit((connection) => {
      connection.parse({ name: '', text, types: [] }, true);
      connection.bind({ portal: '', statement: '', values }, true);
      connection.describe({ type: 'P', name: '' }, true);
      connection.execute({ portal: '' }, true);
      connection.sync();
    });
  }

  /** The next event of the running query; null when it is over. */
  async next(): Promise<QueryEvent | null> {
    for (;;) {
      const event = this.queue.shift();
      if (event) {
        if (this.queue.length < QUEUE_LIMIT / 2) this.connection.stream.resume();
        return event;
      }
      if (this.ready) return null;
      await new Promise<void>((resolve) => (this.waiting = resolve));
    }
  }

  /** COPY data; resolves when more may be sent. */
  async copyData(chunk: Buffer): Promise<void> {
    if (this.isLost) return;
    const { connection } = this;
    connection.sendCopyFromChunk(chunk);
    const { stream } = connection;
    if (!stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.once('drain', done).once('close', done);
    });
  }

  /** Ends COPY data, with a reason when it was not complete. */
  endCopy(failure: string | null): void {
    if (this.isLost) return;
    if (failure === null) this.connection.endCopyFrom();
    else this.connection.sendCopyFail(failure);
  }

  /** Asks the server, over a connection of its own, to stop the running query. */
  cancel(): void {
    const { host, port } = this.client;
    const socket = host.startsWith('/') ? net.connect(`${host}/.s.PGSQL.${port}`) : net.connect(port, host);
    const request = Buffer.alloc(16);
    request.writeInt32BE(16, 0);
    request.writeInt32BE(80877102, 4); // CancelRequestCode
    request.writeInt32BE(this.processId, 8);
    request.writeInt32BE(this.secretKey, 12);
    socket.on('error', () => socket.destroy()); // the query then simply runs on
    socket.end(request);
  }

  async close(): Promise<void> {
    if (!this.isLost) await this.client.end();
  }

  private begin(portion: number): void {
    this.queue = [];
    this.portion = portion;
    this.fields = null;
    this.rows = [];
    this.ready = false;
    if (!this.isLost) return;
    if (this.lastFatal) this.queue.push({ kind: 'error', error: this.lastFatal });
    this.queue.push({ kind: 'lost' });
    this.ready = true;
  }

  /** pg's client wants to hand each message to somebody; we have read it already. */
  private submit(send: (connection: pg.Connection) => void): void {
    if (this.isLost) return;
    const ignore = (): void => undefined;
    const submittable = {
      submit: (connection: pg.Connection): void => send(connection),
      handleRowDescription: ignore,
      handleDataRow: ignore,
      handleCommandComplete: ignore,
      handleEmptyQuery: ignore,
      handleCopyInResponse: ignore,
      handleCopyData: ignore,
      handlePortalSuspended: ignore,
      handleReadyForQuery: ignore,
      handleError: ignore,
    };
    this.client.query(submittable);
  }

  private emit(event: QueryEvent): void {
    this.queue.push(event);
    if (this.queue.length >= QUEUE_LIMIT) this.connection.stream.pause();
    this.wake();
  }

  private wake(): void {
    const { waiting } = this;
    this.waiting = null;
    waiting?.();
  }

  private lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    if (!this.ready) {
      this.ready = true;
      this.emit({ kind: 'lost' });
    }
  }

  private receive(message: Message): void {
    switch (message.name) {
      case 'dataRow':
        this.rows.push(message.fields as TextRow);
        if (this.portion > 0 && this.rows.length >= this.portion) {
          this.emit({ kind: 'rows', fields: this.fields!, rows: this.rows });
          this.rows = [];
        }
        return;
      case 'rowDescription':
        this.fields = message.fields as Field[];
        return;
      case 'commandComplete':
        if (this.fields)
          this.emit({ kind: 'tuples', fields: this.fields, rows: this.rows, tag: message.text! });
        else this.emit({ kind: 'command', tag: message.text! });
        this.fields = null;
        this.rows = [];
        return;
      case 'emptyQuery':
        return this.emit({ kind: 'empty' });
      case 'noData':
        this.fields = null;
        return;
      case 'copyInResponse':
        return this.emit({ kind: 'copy-in', binary: message.binary! });
      case 'copyOutResponse':
        return this.emit({ kind: 'copy-out' });
      case 'copyData':
        return this.emit({ kind: 'copy-data', chunk: Buffer.from(message.chunk!) });
      case 'copyDone':
        return this.emit({ kind: 'copy-done' });
      case 'error':
        return this.fail(message);
      case 'notice':
        return this.ready ? this.onIdleNotice(message) : this.emit({ kind: 'notice', notice: message });
      case 'notification':
        this.notifications.push({
          channel: message.channel!,
          payload: message.payload ?? '',
          processId: message.processId!,
        });
        return;
      case 'readyForQuery':
        return this.becomeReady(message.status as 'I' | 'T' | 'E');
      default:
        this.startup(message);
    }
  }

  private fail(message: Message): void {
    this.fields = null;
    this.rows = [];
    if (this.ready) this.lastFatal = message;
    else this.emit({ kind: 'error', error: message });
  }

  private becomeReady(status: 'I' | 'T' | 'E'): void {
    if (this.fields) {
      this.emit({ kind: 'description', fields: this.fields }); // a Describe ends without a command tag
      this.fields = null;
    }
    this.status = status;
    this.ready = true;
    this.wake();
  }

  private startup(message: Message): void {
    if (message.name === 'parameterStatus')
      this.parameters.set(message.parameterName!, message.parameterValue!);
    else if (message.name === 'backendKeyData') {
      this.processId = message.processID!;
      this.secretKey = message.secretKey!;
    } else if (/^authentication.*(Password|SASL)$/.test(message.name)) this.usedPassword = true;
  }
}

/** A Query message whose text is not UTF-8, which pg's writer cannot make. */
function queryMessage(text: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write('Q', 0, 'latin1');
  head.writeUInt32BE(4 + text.length + 1, 1);
  return Buffer.concat([head, text, Buffer.alloc(1)]);
}
