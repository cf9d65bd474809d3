/** psql from start to end: options, connection, psqlrc, then the actions of the command line, a script, or a prompt. */
import fs from 'node:fs';
import os from 'node:os';
import type { ClusterState } from './commands/aurora.js';
import { ConditionalStack } from './conditional.js';
import { resolveConnection, type DefaultServer } from './connection.js';
import { errorMessage, isDbError } from '../engine/errors.js';
import { expandTilde, FileSink, systemReason, type PsqlIo, type Sink } from './io.js';
import { runFile } from './main-loop.js';
import { parseCommandLine } from './options.js';
import { setPrintOption } from './pset.js';
import { openWire } from './reconnect.js';
import { execute } from './run.js';
import { ScanInput } from './scan/input.js';
import { sendQuery } from './send.js';
import {
  EXIT_FAILURE,
  EXIT_LOST,
  EXIT_SCRIPT,
  EXIT_SUCCESS,
  PSQL_VERSION,
  PsqlExit,
  Session,
} from './session.js';
import { runSlash } from './slash.js';

type Action = { kind: 'query' | 'slash' | 'file'; text: string | null };

/** What the options ask for besides settings of the session. */
interface Plan {
  actions: Action[];
  host?: string;
  port?: string;
  user?: string;
  dbname?: string;
  logFile?: string;
  list: boolean;
  noRc: boolean;
  singleTransaction: boolean;
  noReadline: boolean;
}

/** Runs psql with the arguments after its name; returns its exit status. */
export async function runPsql(
  argv: string[],
  io: PsqlIo,
  fallback: () => DefaultServer | null,
  cluster: (() => Promise<ClusterState>) | null = null,
): Promise<number> {
  const parsed = parseCommandLine(argv);
  const early = earlyAnswer(argv, io);
  if (early !== null) return early;
  const session = new Session(io, null, fallback);
  session.cluster = cluster;
  const stopWatching = watchInterrupts(session);
  try {
    if ('problem' in parsed) {
      io.stderr.write(`aurora psql: ${parsed.problem}\n`);
      return tryHelp(session);
    }
    const plan = await applyOptions(session, parsed.options, parsed.operands);
    if (typeof plan === 'number') return plan;
    session.fallback = fallback();
    return await perform(session, plan);
  } catch (err) {
    if (err instanceof PsqlExit) return err.status;
    if (!isDbError(err)) throw err;
    session.error(errorMessage(err));
    if (err.hint) session.hint(err.hint);
    return session.wire ? EXIT_FAILURE : EXIT_LOST;
  } finally {
    stopWatching();
    if (session.queryOut !== session.stdout) await session.queryOut.close();
    await session.logFile?.close();
    await session.wire?.close();
    session.stdin.close();
  }
}

/** --version and -V, as the only or the first thing asked. */
function earlyAnswer(argv: string[], io: PsqlIo): number | null {
  if (argv[0] !== '--version' && argv[0] !== '-V') return null;
  io.stdout.write(`psql (OpenAurora) ${PSQL_VERSION}\n`);
  return EXIT_SUCCESS;
}

function tryHelp(session: Session): number {
  session.hint('Try "aurora psql --help" for more information.');
  return EXIT_FAILURE;
}

/** Applies options in their order; a number ends psql with that status. */
async function applyOptions(
  session: Session,
  options: [string, string][],
  operands: string[],
): Promise<Plan | number> {
  const plan: Plan = { actions: [], list: false, noRc: false, singleTransaction: false, noReadline: false };
  const { print, variables } = session;
  for (const [letter, value] of options) {
    switch (letter) {
      case 'a':
        variables.set('ECHO', 'all');
        break;
      case 'b':
        variables.set('ECHO', 'errors');
        break;
      case 'e':
        variables.set('ECHO', 'queries');
        break;
      case 'E':
        variables.set('ECHO_HIDDEN', 'on');
        break;
      case 'q':
        variables.set('QUIET', 'on');
        break;
      case 's':
        variables.set('SINGLESTEP', 'on');
        break;
      case 'S':
        variables.set('SINGLELINE', 'on');
        break;
      case 'A':
        print.format = 'unaligned';
        break;
      case 'H':
        print.format = 'html';
        break;
      case 'csv':
        print.format = 'csv';
        break;
      case 't':
        print.tuplesOnly = true;
        break;
      case 'x':
        print.expanded = 'on';
        break;
      case 'T':
        print.tableAttr = value;
        break;
      case 'F':
        print.fieldSep = { text: value, zero: false };
        break;
      case 'z':
        print.fieldSep = { text: '', zero: true };
        break;
      case 'R':
        print.recordSep = { text: value, zero: false };
        break;
      case '0':
        print.recordSep = { text: '', zero: true };
        break;
      case 'c':
        if (value.startsWith('\\')) plan.actions.push({ kind: 'slash', text: value.slice(1) });
        else plan.actions.push({ kind: 'query', text: value });
        break;
      case 'f':
        plan.actions.push({ kind: 'file', text: value });
        break;
      case 'd':
        plan.dbname = value;
        break;
      case 'h':
        plan.host = value;
        break;
      case 'p':
        plan.port = value;
        break;
      case 'U':
        plan.user = value;
        break;
      case 'L':
        plan.logFile = value;
        break;
      case 'l':
        plan.list = true;
        break;
      case 'n':
        plan.noReadline = true;
        break;
      case 'w':
        session.passwordMode = 'never';
        break;
      case 'W':
        session.passwordMode = 'always';
        break;
      case 'X':
        plan.noRc = true;
        break;
      case '1':
        plan.singleTransaction = true;
        break;
      case 'o':
        if (!(await session.redirect(value))) return EXIT_FAILURE;
        break;
      case 'P':
        if (!presetOption(session, value)) return EXIT_FAILURE;
        break;
      case 'v': {
        const equals = value.indexOf('=');
        const ok = equals < 0 ? variables.set(value, null) : variables.set(value.slice(0, equals), value.slice(equals + 1)); // prettier-ignore
        if (!ok) return EXIT_FAILURE;
        break;
      }
      case 'V':
        return earlyAnswer(['-V'], session.io)!;
      case '?':
      case 'help':
        return await helpOption(session, letter === 'help' ? value : '');
    }
  }
  for (const operand of operands) {
    if (plan.dbname === undefined) plan.dbname = operand;
    else if (plan.user === undefined) plan.user = operand;
    else if (!session.settings.quiet) session.warning(`extra command-line argument "${operand}" ignored`);
  }
  return plan;
}

function presetOption(session: Session, text: string): boolean {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  if (setPrintOption(session, session.print, name, equals < 0 ? null : text.slice(equals + 1), true))
    return true;
  session.error(`could not set printing parameter "${name}"`);
  return false;
}

async function helpOption(session: Session, topic: string): Promise<number> {
  const { slashHelp } = await import('./help.js');
  if (!['', 'options', 'commands', 'variables'].includes(topic)) return tryHelp(session);
  await slashHelp(session, topic === '' ? 'options' : topic);
  return EXIT_SUCCESS;
}

async function perform(session: Session, plan: Plan): Promise<number> {
  if (plan.actions.length === 0 && session.notTty) plan.actions.push({ kind: 'file', text: null });
  if (plan.singleTransaction && plan.actions.length === 0) {
    session.error('-1 can only be used in non-interactive mode');
    return EXIT_FAILURE;
  }
  if (session.io.isProcess) {
    const { terminalAsk } = await import('./terminal.js');
    session.ask = terminalAsk(session);
  }
  const target = resolveConnection(
    {
      host: plan.host,
      port: plan.port,
      user: plan.user,
      dbname: plan.list && plan.dbname === undefined ? 'postgres' : plan.dbname,
      applicationName: 'psql',
    },
    session.io.env,
    session.fallback,
  );
  session.adopt(await openWire(session, target), target);
  if (plan.logFile !== undefined) {
    session.logFile = openLog(session, plan.logFile);
    if (!session.logFile) return EXIT_FAILURE;
  }
  if (!plan.noRc) await runStartupFiles(session);
  if (plan.list) {
    const { describe } = await import('./describe/index.js');
    return (await describe(session, 'l', () => null)) ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  if (plan.actions.length > 0) return runActions(session, plan);
  session.terse = true;
  const { runInteractive } = await import('./interactive.js');
  return runInteractive(session, !plan.noReadline);
}

/** -L appends, unlike other output files. */
function openLog(session: Session, file: string): Sink | null {
  try {
    return new FileSink(file, 'a');
  } catch (err) {
    session.error(`could not open log file "${file}": ${systemReason(err)}`);
    return null;
  }
}

/** $PSQLRC or ~/.psqlrc; one for this very version goes before. */
async function runStartupFiles(session: Session): Promise<void> {
  const { env } = session.io;
  const base = env['PSQLRC'] ? expandTilde(env['PSQLRC'], env) : `${env['HOME'] ?? os.homedir()}/.psqlrc`;
  const names = [`${base}-${PSQL_VERSION}`, `${base}-${PSQL_VERSION.split('.')[0]}`, base];
  const file = names.find((name) => {
    try {
      fs.accessSync(name, fs.constants.R_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (file !== undefined) await runFile(session, file, false);
}

async function runActions(session: Session, plan: Plan): Promise<number> {
  const { settings } = session;
  let status = EXIT_SUCCESS;
  if (plan.singleTransaction && !(await execute(session, 'BEGIN')) && settings.onErrorStop)
    return EXIT_SCRIPT;
  for (const { kind, text } of plan.actions) {
    if (kind === 'file')
      status = await runFile(session, text === null ? null : expandTilde(text, session.io.env), false);
    else {
      session.terse = true;
      if (settings.echo === 'all') session.say(`${text}\n`);
      const ok = kind === 'query' ? await sendQuery(session, text!) : await runSlashAction(session, text!);
      status = ok ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (status !== EXIT_SUCCESS && settings.onErrorStop) break;
  }
  if (plan.singleTransaction) {
    // Everything or, where that was asked for by ON_ERROR_STOP, nothing.
    const end = status !== EXIT_SUCCESS && settings.onErrorStop ? 'ROLLBACK' : 'COMMIT';
    if (!(await execute(session, end)) && settings.onErrorStop) return EXIT_SCRIPT;
  }
  return status;
}

async function runSlashAction(session: Session, text: string): Promise<boolean> {
  const place = { conditions: new ConditionalStack(), query: null, previous: null, sql: null };
  return (await runSlash(session, new ScanInput(text), place)) !== 'error';
}

/** ^C cancels the running query; while a script waits for input it ends it. */
function watchInterrupts(session: Session): () => void {
  if (!session.io.isProcess) return () => undefined;
  const onInterrupt = (): void => {
    session.cancelPressed = true;
    if (session.wire?.isBusy) {
      session.io.stderr.write('Cancel request sent\n');
      session.wire.cancel();
    } else if (!session.isInteractive) process.exit(EXIT_SCRIPT);
  };
  // The reader of our output is gone: there is nobody left to tell anything.
  const onOutputError = (err: NodeJS.ErrnoException): void => {
    if (err.code === 'EPIPE') process.exit(128 + os.constants.signals.SIGPIPE);
    throw err;
  };
  process.on('SIGINT', onInterrupt);
  process.stdout.on('error', onOutputError);
  return () => {
    process.off('SIGINT', onInterrupt);
    process.stdout.off('error', onOutputError);
  };
}
