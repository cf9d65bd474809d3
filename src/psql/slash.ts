/** Backslash commands: finds the one named, hands it its arguments, deals with what is left of the line. */
import type { ConditionalStack } from './conditional.js';
import type { ScanInput } from './scan/input.js';
import { SlashScanner, type ArgumentKind, type SlashArgument } from './scan/slash-scanner.js';
import type { QueryBuffer, SqlScanner } from './scan/sql-scanner.js';
import { scanHost } from './scan-host.js';
import type { Session } from './session.js';

/** What the main loop does after a command: go on; send the query buffer; rescan it (edited); end the script or session. */
export type SlashResult = 'done' | 'send' | 'edited' | 'quit' | 'error';

/** A command at work. */
export interface SlashContext {
  session: Session;
  /** The name as typed, without its backslash: "d+", "gx". */
  name: string;
  conditions: ConditionalStack;
  /** Absent for a command of -c. */
  query: QueryBuffer | null;
  previous: QueryBuffer | null;
  sql: SqlScanner | null;
  /** The next argument's text, null when there is none. */
  arg(kind?: ArgumentKind, stripSemicolon?: boolean): string | null;
  /** The same with its quoting. */
  quotedArg(kind?: ArgumentKind, stripSemicolon?: boolean): SlashArgument | null;
}

export interface SlashCommand {
  run(context: SlashContext): Promise<SlashResult> | SlashResult;
  /** How arguments are skipped in the inactive branch of an \if. */
  skip?: ArgumentKind;
  /** \if and its kin run in inactive branches too. */
  isBranching?: boolean;
}

/** Where a line's command runs; see SlashContext. */
export interface SlashPlace {
  conditions: ConditionalStack;
  query: QueryBuffer | null;
  previous: QueryBuffer | null;
  sql: SqlScanner | null;
}

export async function runSlash(session: Session, input: ScanInput, place: SlashPlace): Promise<SlashResult> {
  const { conditions } = place;
  const scanner = new SlashScanner(input, scanHost(session, conditions), () => conditions.isActive);
  const name = scanner.commandName();
  const context: SlashContext = {
    session,
    name,
    ...place,
    quotedArg: (kind, strip) => scanner.argument(kind, strip),
    arg: (kind, strip) => scanner.argument(kind, strip)?.text ?? null,
  };
  const result = await dispatch(context);
  if (result === 'send' && place.query && place.previous && place.query.text === '')
    place.query.text = place.previous.text;
  if (result !== 'error') {
    const wasActive = conditions.isActive;
    conditions.push('ignored'); // what is too much is not expanded
    for (let extra = scanner.argument(); extra; extra = scanner.argument())
      if (wasActive) session.warning(`\\${name}: extra argument "${extra.text}" ignored`);
    conditions.pop();
  } else scanner.argument('line');
  scanner.end();
  await session.queryOut.drained();
  return result;
}

async function dispatch(context: SlashContext): Promise<SlashResult> {
  const { session, name, conditions } = context;
  if (session.restrictKey !== null && name !== 'unrestrict') {
    session.error('backslash commands are restricted; only \\unrestrict is allowed');
    return 'error';
  }
  const { findCommand } = await import('./commands/index.js');
  const command = findCommand(name);
  if (!command) {
    session.error(`invalid command \\${name}`);
    if (session.isInteractive) session.hint('Try \\? for help.');
    return 'error';
  }
  if (conditions.isActive || command.isBranching) return command.run(context);
  if (session.isInteractive)
    session.warning(`\\${name} command ignored; use \\endif or Ctrl-C to exit current \\if block`);
  if (command.skip === 'line') context.arg('line');
  else while (context.arg(command.skip) !== null) continue;
  return 'done';
}

/** Complains of an argument that is not there. */
export function missingArgument({ session, name }: SlashContext): SlashResult {
  session.error(`\\${name}: missing required argument`);
  return 'error';
}
