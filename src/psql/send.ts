/** Sends what a user typed and shows what comes back: psql's SendQuery. */
import type { CrosstabArguments } from './crosstab.js';
import { copyIn } from './copy-data.js';
import { serverGone } from './reconnect.js';
import { alignmentOf, withThousands } from './print/table.js';
import { htmlEscape } from './print/markup.js';
import { tableOf, type PrintOptions, type TableContent } from './print/types.js';
import type { Sink } from './io.js';
import type { LineSource } from './line-source.js';
import { beginsItself } from './begins-itself.js';
import { noRequest, type SendRequest, type Session } from './session.js';
import type { Field, TextRow } from './wire-types.js';
import type { QueryEvent, Wire } from './wire.js';

const SAVEPOINT = 'pg_psql_temporary_savepoint';
export const NOT_CONNECTED = 'You are currently not connected to a database.';

export interface SendOptions {
  /** \copy: where the data comes from or goes to, instead of the script or \o. */
  copySource?: LineSource;
  copySink?: Sink;
  /** \watch: print options with its title, and rows without which it stops. */
  watch?: { options: PrintOptions; minRows: number };
}

/** Runs a query string; true when all of it succeeded. Whatever \g and the like asked for is done once. */
export async function sendQuery(
  session: Session,
  query: string,
  options: SendOptions = {},
): Promise<boolean> {
  const { settings } = session;
  const request = session.request;
  session.request = noRequest();
  try {
    if (!session.wire) {
      session.error(NOT_CONNECTED);
      return false;
    }
    if (settings.singleStep) {
      if (!(await confirmStep(session, query))) return false;
    } else if (settings.echo === 'queries') session.say(`${query}\n`);
    session.logFile?.write(`/******** QUERY *********/\n${query}\n/************************/\n\n`);
    return await inTransaction(session, query, request, options);
  } finally {
    if (request.savedOptions) session.print = request.savedOptions;
  }
}

/** Sends the query with what AUTOCOMMIT and ON_ERROR_ROLLBACK put around it. */
async function inTransaction(
  session: Session,
  query: string,
  request: SendRequest,
  options: SendOptions,
): Promise<boolean> {
  const { settings } = session;
  if (session.wire!.status === 'I' && !settings.autocommit && !beginsItself(query)) {
    if (!(await quietly(session, 'BEGIN'))) return false;
  }
  const guarded =
    session.wire!.status === 'T' &&
    (settings.onErrorRollback === 'on' ||
      (settings.onErrorRollback === 'interactive' && session.isInteractive));
  if (guarded && !(await quietly(session, `SAVEPOINT ${SAVEPOINT}`))) return false;

  const execution = new Execution(session, query, request, options);
  let ok = request.gdesc ? await execution.describe() : await execution.run();
  if (!ok && settings.echo === 'errors') session.info(`STATEMENT:  ${query}`);

  if (guarded && session.wire) {
    const { status } = session.wire;
    const after = status === 'E' ? `ROLLBACK TO ${SAVEPOINT}` : status === 'T' && !execution.savepointGone ? `RELEASE ${SAVEPOINT}` : null; // prettier-ignore
    if (after !== null && !(await quietly(session, after))) ok = false;
  }
  if (session.timing) session.say(`${formatTiming(execution.elapsedMs)}\n`);
  printNotifications(session);
  return ok;
}

/** \watch runs its query outside of all that. 1 = done, 0 = not to be repeated, -1 = failed. */
export async function sendWatched(
  session: Session,
  query: string,
  options: SendOptions,
): Promise<1 | 0 | -1> {
  if (!session.wire) {
    session.error(NOT_CONNECTED);
    return 0;
  }
  const execution = new Execution(session, query, noRequest(), options);
  const ok = await execution.run();
  if (session.timing) session.say(`${formatTiming(execution.elapsedMs)}\n`);
  if (session.cancelPressed || execution.tooFewRows) return 0;
  return ok ? 1 : -1;
}

/** Runs a command of our own; errors are shown. */
async function quietly(session: Session, command: string): Promise<boolean> {
  const wire = session.wire!;
  let ok = true;
  wire.query(command);
  for (let event = await wire.next(); event; event = await wire.next()) {
    if (event.kind === 'notice') session.serverMessage(event.notice, command, false);
    else if (event.kind === 'error') {
      session.serverMessage(event.error, command, true);
      ok = false;
    } else if (event.kind === 'lost') ok = false;
  }
  return ok;
}

async function confirmStep(session: Session, query: string): Promise<boolean> {
  session.say(
    `/**(Single step mode: verify command)******************************************/\n${query}\n` +
      '/**(press return to proceed or enter x and return to cancel)*******************/\n',
  );
  const answer = await session.ask('', true);
  return answer === null || !answer.startsWith('x');
}

export function printNotifications(session: Session): void {
  const { wire } = session;
  if (!wire) return;
  for (const { channel, payload, processId } of wire.notifications.splice(0)) {
    const what = payload ? `"${channel}" with payload "${payload}"` : `"${channel}"`;
    session.queryOut.write(
      `Asynchronous notification ${what} received from server process with PID ${processId}.\n`,
    );
  }
}

export function formatTiming(ms: number): string {
  const text = `Time: ${ms.toFixed(3)} ms`;
  if (ms < 1000) return text;
  const two = (n: number): string => String(n).padStart(2, '0');
  const totalMinutes = Math.floor(ms / 60_000);
  const seconds = (ms / 1000 - totalMinutes * 60).toFixed(3).padStart(6, '0');
  const totalHours = Math.floor(totalMinutes / 60);
  const minutes = two(totalMinutes % 60);
  if (totalHours === 0) return `${text} (${minutes}:${seconds})`;
  if (totalHours < 24) return `${text} (${two(totalHours)}:${minutes}:${seconds})`;
  return `${text} (${Math.floor(totalHours / 24)} d ${two(totalHours % 24)}:${minutes}:${seconds})`;
}

/** A result as a table: nulls shown as \pset null says. */
export function resultTable(fields: Field[], rows: TextRow[], options: PrintOptions): TableContent {
  const aligns = fields.map((field) => alignmentOf(field.dataTypeID));
  const cells = rows.map((row) =>
    row.map((value, j) => {
      if (value === null) return options.nullText;
      return options.numericLocale && aligns[j] === 'r' ? withThousands(value) : value;
    }),
  );
  return { ...tableOf(fields.map((field) => field.name), aligns, cells), title: options.title }; // prettier-ignore
}

/** What is left of an event once its COPY data has passed. */
type Outcome = Exclude<QueryEvent, { kind: 'notice' }>;

/** One query string on its way through the server. */
class Execution {
  elapsedMs = 0;
  savepointGone = false;
  tooFewRows = false;
  private success = true;
  private fileSink: Sink | null = null;
  private started = 0;
  /** The connection that the query is sent to; the session may have another, or none, by the time it is over. */
  private readonly wire: Wire;

  constructor(
    private readonly session: Session,
    private readonly query: string,
    private readonly request: SendRequest,
    private readonly options: SendOptions,
  ) {
    this.wire = session.wire!;
  }

  async run(): Promise<boolean> {
    const { session, request, options } = this;
    const portions =
      session.settings.fetchCount > 0 &&
      !request.gexec &&
      !request.crosstab &&
      request.gsetPrefix === null &&
      !options.watch;
    this.started = performance.now();
    if (request.bind) this.wire.bind(this.query, request.bind);
    else this.wire.query(this.query, portions ? session.settings.fetchCount : 0);
    try {
      let current = await this.nextOutcome();
      if (options.watch && options.watch.minRows > 0)
        this.tooFewRows = current?.kind !== 'tuples' || current.rows.length < options.watch.minRows;
      while (current) current = await this.handle(current);
    } finally {
      if (this.fileSink) await session.closeSink(this.fileSink);
    }
    return this.success && !session.cancelPressed;
  }

  /** \gdesc: names and types of the columns that the query would return. */
  async describe(): Promise<boolean> {
    const { session } = this;
    this.started = performance.now();
    this.wire.describe(this.query);
    let fields: Field[] = [];
    for (let event = await this.nextOutcome(); event; event = await this.nextOutcome()) {
      if (event.kind === 'description') fields = event.fields;
      else await this.fail(event);
    }
    if (!this.success) return false;
    if (fields.length === 0) {
      session.queryOut.write('The command has no result, or the result has no columns.\n');
      return true;
    }
    const quote = (text: string): string => session.client!.escapeLiteral(text);
    const values = fields.map(
      (f) => `(${quote(f.name)}, '${f.dataTypeID}'::pg_catalog.oid, ${f.dataTypeModifier})`,
    );
    this.wire.query(
      `SELECT name AS "Column", pg_catalog.format_type(tp, tpm) AS "Type"\nFROM (VALUES ${values.join(',')}) s(name, tp, tpm)`,
    );
    for (let event = await this.nextOutcome(); event;) event = await this.handle(event);
    return this.success;
  }

  /** The next result; notices are shown as they come. */
  private async nextOutcome(): Promise<Outcome | null> {
    for (;;) {
      const event = await this.wire.next();
      this.elapsedMs = performance.now() - this.started;
      if (event?.kind !== 'notice') return event;
      this.session.serverMessage(event.notice, this.query, false);
    }
  }

  /** Shows one result and returns the next, which is read first: its notices stand before this one's rows. */
  private async handle(outcome: Outcome): Promise<Outcome | null> {
    let current: Outcome | null = outcome;
    if (current.kind === 'error' || current.kind === 'lost') {
      await this.fail(current);
      return this.nextOutcome();
    }
    if (current.kind === 'copy-in' || current.kind === 'copy-out') {
      current = current.kind === 'copy-in' ? await this.copyIn(current.binary) : await this.copyOut();
      if (current === null) this.setResultVariables('');
    } else if (current.kind === 'rows') current = await this.portions(current);
    if (current?.kind === 'error' || current?.kind === 'lost') return current;
    const next = await this.nextOutcome();
    if (current) await this.show(current, next === null);
    return next;
  }

  private async show(current: Outcome, isLast: boolean): Promise<void> {
    const { session, request } = this;
    const shown = isLast || session.settings.showAllResults;
    if (current.kind === 'tuples' || current.kind === 'command') {
      this.savepointGone ||= /^(COMMIT|SAVEPOINT|RELEASE|ROLLBACK)$/.test(current.tag);
      if (current.kind === 'tuples' && this.success) {
        if (isLast && request.gsetPrefix !== null) this.success = this.store(current.fields, current.rows);
        else if (isLast && request.gexec) this.success = await this.execute(current.rows);
        else if (isLast && request.crosstab)
          this.success = await this.printCrosstab(current, request.crosstab);
        else if (shown) await this.printRows(current.fields, current.rows);
      }
      if (shown && this.success) this.printStatus(current.tag, current.kind === 'tuples');
    }
    if (isLast && !this.options.watch) {
      if (current.kind === 'tuples' || current.kind === 'command') this.setResultVariables(current.tag);
      else this.setResultVariables('');
    }
  }

  private async printRows(fields: Field[], rows: TextRow[]): Promise<void> {
    const { session } = this;
    const options = this.options.watch?.options ?? session.print;
    const sink = await this.resultSink();
    if (sink) await session.printTable(resultTable(fields, rows, options), options, sink);
  }

  private async printCrosstab(
    { fields, rows }: { fields: Field[]; rows: TextRow[] },
    args: CrosstabArguments,
  ): Promise<boolean> {
    const { crosstab } = await import('./crosstab.js');
    const table = crosstab(this.session, fields, rows, args);
    const sink = table && (await this.resultSink());
    if (sink) await this.session.printTable(table, this.session.print, sink);
    return sink !== null;
  }

  /** A large result in portions (FETCH_COUNT): each is laid out on its own. */
  private async portions(first: Outcome & { kind: 'rows' }): Promise<Outcome | null> {
    const { session } = this;
    const sink = await this.resultSink();
    let priorRows = 0;
    let portion: Outcome | null = first;
    for (; portion?.kind === 'rows'; portion = await this.nextOutcome()) {
      const table = resultTable(portion.fields, portion.rows, session.print);
      if (sink) await session.printTable({ ...table, isStart: priorRows === 0, isEnd: false, priorRows }, session.print, sink); // prettier-ignore
      priorRows += portion.rows.length;
    }
    if (portion?.kind !== 'tuples') return portion; // an error in the middle
    const table = resultTable(portion.fields, portion.rows, session.print);
    if (sink) {
      if (portion.rows.length > 0)
        await session.printTable({ ...table, isStart: false, isEnd: false, priorRows }, session.print, sink);
      priorRows += portion.rows.length;
      await session.printTable({ ...table, rows: [], isStart: false, priorRows }, session.print, sink);
    }
    this.printStatus(portion.tag, true);
    this.setResultVariables(portion.tag, priorRows);
    return null;
  }

  /** \g's file, opened at the first need, or \o's. */
  private resultSink(): Promise<Sink | null> {
    const { target } = this.request;
    if (target === null) return Promise.resolve(this.session.queryOut);
    this.fileSink ??= this.session.openOutput(target);
    if (!this.fileSink) this.success = false;
    return Promise.resolve(this.fileSink);
  }

  private async copyOut(): Promise<Outcome | null> {
    const { session, options } = this;
    const sink = options.copySink ?? (await this.resultSink());
    let event = await this.nextOutcome();
    for (; event?.kind === 'copy-data' || event?.kind === 'copy-done'; event = await this.nextOutcome()) {
      if (event.kind === 'copy-done' || !sink) continue;
      sink.write(event.chunk);
      await sink.drained();
    }
    // The status would get mixed with the data when both go to the same place.
    return event?.kind === 'command' && sink === session.queryOut ? null : event;
  }

  private async copyIn(binary: boolean): Promise<Outcome | null> {
    const ok = await copyIn(this.session, this.wire, this.options.copySource ?? null, binary);
    const event = await this.nextOutcome();
    if (!ok) this.success = false;
    return event;
  }

  private async fail(event: Outcome): Promise<void> {
    const { session } = this;
    this.success = false;
    if (event.kind === 'error') {
      session.serverMessage(event.error, this.query, true);
      session.lastError = { message: event.error, query: this.query };
    } else if (event.kind !== 'lost') return;
    if (!this.options.watch) {
      const code = event.kind === 'error' ? (event.error.code ?? '') : '';
      const message = event.kind === 'error' ? (event.error.message ?? '') : '';
      session.variables.set('ERROR', 'true');
      session.variables.set('SQLSTATE', code);
      session.variables.set('ROW_COUNT', '0');
      session.variables.set('LAST_ERROR_SQLSTATE', code);
      session.variables.set('LAST_ERROR_MESSAGE', message);
    }
    if (event.kind === 'lost') await serverGone(session);
  }

  private setResultVariables(tag: string, rowCount?: number): void {
    const { variables } = this.session;
    const count = /^(?:INSERT \d+|SELECT|UPDATE|DELETE|MERGE|FETCH|MOVE|COPY) (\d+)$/.exec(tag)?.[1] ?? '0';
    variables.set('ERROR', 'false');
    variables.set('SQLSTATE', '00000');
    variables.set('ROW_COUNT', String(rowCount ?? count));
  }

  private printStatus(tag: string, isTuples: boolean): void {
    const { session } = this;
    if (isTuples && !/^(INSERT|UPDATE|DELETE|MERGE)/.test(tag)) return;
    if (!session.settings.quiet) {
      const text = session.print.format === 'html' ? `<p>${htmlEscape(tag)}</p>\n` : `${tag}\n`;
      session.queryOut.write(text);
    }
    session.logFile?.write(`${tag}\n`);
    session.variables.set('LASTOID', '0');
  }

  /** \gset: the one row's columns become variables. */
  private store(fields: Field[], rows: TextRow[]): boolean {
    const { session } = this;
    if (rows.length !== 1) {
      session.error(
        rows.length < 1 ? 'no rows returned for \\gset' : 'more than one row returned for \\gset',
      );
      return false;
    }
    for (const [j, field] of fields.entries()) {
      const name = `${this.request.gsetPrefix}${field.name}`;
      if (session.variables.isSpecial(name))
        session.warning(`attempt to \\gset into specially treated variable "${name}" ignored`);
      else if (!session.variables.set(name, rows[0]![j] ?? null)) return false;
    }
    return true;
  }

  /** \gexec: every value is a query. */
  private async execute(rows: TextRow[]): Promise<boolean> {
    const { session } = this;
    let ok = true;
    for (const value of rows.flat()) {
      if (value === null) continue;
      if (session.cancelPressed) break;
      if (session.settings.echo === 'all' && !session.settings.singleStep) session.say(`${value}\n`);
      if (await sendQuery(session, value)) continue;
      ok = false;
      if (session.settings.onErrorStop) break;
    }
    return ok;
  }
}
