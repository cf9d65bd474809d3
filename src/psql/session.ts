/** The state of one psql: connection, variables, print options, where output goes. */
import type { ClusterState } from './commands/aurora.js';
import type { CrosstabArguments } from './crosstab.js';
import type pg from 'pg';
import { StreamSink, expandTilde, openSink, runShell, systemReason, type PsqlIo, type Sink } from './io.js'; // prettier-ignore
import { StreamLines, type LineSource } from './line-source.js';
import { screenColumns, showText } from './pager.js';
import { printTable } from './print/table.js';
import { defaultPrintOptions, type PrintOptions, type TableContent } from './print/types.js';
import { formatServerMessage, type ServerMessage } from './server-message.js';
import { defaultSettings, type Settings } from './settings.js';
import { Variables } from './variables.js';
import type { Wire } from './wire.js';
import type { DefaultServer, ResolvedConnection } from './connection.js';

/** Our psql speaks as PostgreSQL 18's: scripts test these. */
export const PSQL_VERSION = '18.4';
export const PSQL_VERSION_NUM = '180004';

export const EXIT_SUCCESS = 0;
export const EXIT_FAILURE = 1;
export const EXIT_LOST = 2;
export const EXIT_SCRIPT = 3;

/** Ends psql at once with this status; what is open is closed on the way out. */
export class PsqlExit extends Error {
  constructor(readonly status: number) {
    super(`psql exit ${status}`);
  }
}

/** What \g and its kin ask of the next query sent. */
export interface SendRequest {
  /** \g FILE or \g |COMMAND. */
  target: string | null;
  /** Print options to return to after \gx and \g (...). */
  savedOptions: PrintOptions | null;
  gsetPrefix: string | null;
  gdesc: boolean;
  gexec: boolean;
  /** \\crosstabview with its arguments. */
  crosstab: CrosstabArguments | null;
  bind: string[] | null;
}

export function noRequest(): SendRequest {
  return {
    target: null,
    savedOptions: null,
    gsetPrefix: null,
    gdesc: false,
    gexec: false,
    crosstab: null,
    bind: null,
  };
}

export class Session {
  readonly settings: Settings = defaultSettings();
  readonly variables: Variables;
  print: PrintOptions = defaultPrintOptions();
  request: SendRequest = noRequest();
  wire: Wire | null = null;
  /** Where we are connected, or were last. */
  target: ResolvedConnection | null = null;
  /** Tells the state of the cluster of AURORA_HOME; null when none is named. */
  cluster: (() => Promise<ClusterState>) | null = null;
  timing = false;
  /** -w: never, -W: always ask for a password. */
  passwordMode: 'default' | 'never' | 'always' = 'default';

  /** \o. */
  queryOut: Sink;
  readonly stdout: Sink;
  /** -L. */
  logFile: Sink | null = null;
  readonly stdin: LineSource;
  /** The script being read, for messages and \ir; null at a prompt or plain standard input. */
  inputFile: string | null = null;
  lineNo = 0;
  statementLine = 1;
  source: LineSource | null = null;
  isInteractive = false;
  /** Messages without "psql:" and severity, as at a prompt. */
  terse = false;
  cancelPressed = false;
  lastError: { message: ServerMessage; query: string } | null = null;
  /** \restrict: the key that lifts it. */
  restrictKey: string | null = null;
  /** Input lines of this and earlier sessions, newest last. */
  history: string[] = [];
  /** Reads a line with a prompt, or a secret without echo. Null at end of input. */
  ask: (prompt: string, echo: boolean) => Promise<string | null>;
  /** Width of the last PROMPT1, for %w in PROMPT2. */
  promptWidth = 0;

  constructor(
    readonly io: PsqlIo,
    /** Where to connect when nothing says where. */
    public fallback: DefaultServer | null,
    /** The same as of now: the primary may be another compute than it was. */
    readonly findFallback: () => DefaultServer | null = () => fallback,
  ) {
    this.stdout = new StreamSink(io.stdout);
    this.queryOut = this.stdout;
    this.stdin = new StreamLines(io.stdin);
    this.variables = new Variables(this.settings, (message) => this.error(message));
    this.ask = async (prompt) => {
      if (prompt) this.io.stderr.write(prompt);
      const line = await this.stdin.next();
      return line === null ? null : line.toString().replace(/\r?\n$/, '');
    };
    const preset: [string, string][] = [
      ['VERSION', `OpenAurora psql ${PSQL_VERSION}`],
      ['VERSION_NAME', PSQL_VERSION],
      ['VERSION_NUM', PSQL_VERSION_NUM],
      ['LAST_ERROR_MESSAGE', ''],
      ['LAST_ERROR_SQLSTATE', '00000'],
      ['AUTOCOMMIT', 'on'],
      ['PROMPT1', '%/%I%R%x%# '],
      ['PROMPT2', '%/%I%R%x%# '],
      ['PROMPT3', '>> '],
      ['SHOW_ALL_RESULTS', 'on'],
    ];
    for (const [name, value] of preset) this.variables.set(name, value);
  }

  get notTty(): boolean {
    return !this.io.stdinIsTty || !this.io.stdoutIsTty;
  }

  /** Connected to the cluster of AURORA_HOME. */
  get isClusterEndpoint(): boolean {
    return this.fallback !== null && this.target?.host === this.fallback.host;
  }

  get client(): pg.Client | null {
    return this.wire?.client ?? null;
  }

  /* ---- messages ---- */

  error(message: string): void {
    this.log('error: ', message);
  }

  warning(message: string): void {
    this.log('warning: ', message);
  }

  info(message: string): void {
    this.log('', message);
  }

  hint(message: string): void {
    this.log('hint: ', message);
  }

  private log(label: string, message: string): void {
    let line = '';
    if (!this.terse) line += this.inputFile === null ? 'aurora psql:' : 'psql:';
    if (this.inputFile !== null) line += `${this.inputFile}:${this.lineNo > 0 ? `${this.lineNo}:` : ''}`;
    if (line !== '') line += ' ';
    this.io.stderr.write(`${line}${this.terse ? '' : label}${message}\n`);
  }

  serverMessage(message: ServerMessage, query: string | null, isError: boolean): void {
    this.info(formatServerMessage(message, query, isError, this.settings));
  }

  /** Text to standard output, whatever \o says. */
  say(text: string): void {
    this.stdout.write(text);
  }

  /* ---- tables ---- */

  /** Prints to `sink` (default: \o's), through the pager when it is the terminal's and too long for it. */
  async printTable(
    table: TableContent,
    options: PrintOptions = this.print,
    sink: Sink = this.queryOut,
  ): Promise<void> {
    const onScreen = sink === this.stdout && this.io.stdoutIsTty;
    const width = options.columns > 0 ? options.columns : onScreen ? screenColumns(this.io) : 0;
    if (this.logFile) {
      const log = this.logFile;
      printTable(table, { ...options, format: 'aligned', expanded: 'off' }, width, (text) => log.write(text));
    }
    if (onScreen && this.io.stdinIsTty) {
      let text = '';
      printTable(table, options, width, (piece) => (text += piece));
      await showText(text, options, this.io);
      return;
    }
    let batch = '';
    printTable(table, options, width, (piece) => {
      batch += piece;
      if (batch.length < 65536) return;
      sink.write(batch);
      batch = '';
    });
    if (batch !== '') sink.write(batch);
    await sink.drained();
  }

  /* ---- output ---- */

  /** \o and -o; null returns to standard output. False, with a message, when the file cannot be opened. */
  async redirect(target: string | null): Promise<boolean> {
    let sink = this.stdout;
    if (target !== null && target !== '') {
      const opened = this.openOutput(target);
      if (!opened) return false;
      sink = opened;
    }
    if (this.queryOut !== this.stdout) await this.closeSink(this.queryOut);
    this.queryOut = sink;
    return true;
  }

  openOutput(target: string): Sink | null {
    try {
      return openSink(expandTilde(target, this.io.env), this.io);
    } catch (err) {
      this.error(`${target}: ${systemReason(err)}`);
      return null;
    }
  }

  async closeSink(sink: Sink): Promise<number> {
    const status = await sink.close();
    this.setShellResult(status);
    return status;
  }

  async shell(command: string | null): Promise<number> {
    await this.stdout.drained();
    const status = await runShell(command, this.io);
    this.setShellResult(status);
    return status;
  }

  setShellResult(status: number): void {
    this.variables.set('SHELL_ERROR', status === 0 ? 'false' : 'true');
    this.variables.set('SHELL_EXIT_CODE', String(status));
  }

  /* ---- connection ---- */

  /** Takes a new connection over: variables, notices. */
  adopt(wire: Wire, target: ResolvedConnection): void {
    this.wire = wire;
    this.target = target;
    wire.onIdleNotice = (notice) => this.serverMessage(notice, null, false);
    this.syncVariables();
  }

  /** After the connection is gone for good. */
  disown(): void {
    this.wire = null;
    for (const name of ['DBNAME', 'SERVICE', 'USER', 'HOST', 'PORT', 'ENCODING', 'SERVER_VERSION_NAME', 'SERVER_VERSION_NUM'])
      this.variables.set(name, null); // prettier-ignore
  }

  private syncVariables(): void {
    const { wire, target, variables } = this;
    if (!wire || !target) return;
    const version = wire.parameters.get('server_version') ?? '';
    const [major = 0, minor = 0] = version.split(/[. ]/).map((part) => parseInt(part, 10) || 0);
    variables.set('DBNAME', target.database);
    variables.set('USER', target.user);
    variables.set('HOST', target.host);
    variables.set('PORT', String(target.port));
    variables.set('ENCODING', wire.parameters.get('client_encoding') ?? 'UTF8');
    variables.set('SERVER_VERSION_NAME', version);
    variables.set('SERVER_VERSION_NUM', String(major * 10000 + minor));
  }

  get standardStrings(): boolean {
    return this.wire?.parameters.get('standard_conforming_strings') === 'on';
  }
}
