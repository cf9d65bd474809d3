import { NOT_CONNECTED } from './send.js';
import type { Session } from './session.js';
import type { Field, TextRow } from './wire-types.js';

export interface RowsResult {
  fields: Field[];
  rows: TextRow[];
}

/** Runs a query of our own for a backslash command (shown by -E unless hidden). Null, with the error shown, when it failed. */
export async function execute(
  session: Session,
  query: string,
  options: { hidden?: boolean } = {},
): Promise<RowsResult | null> {
  const { wire, settings } = session;
  if (!wire) {
    session.error(NOT_CONNECTED);
    return null;
  }
  if (settings.echoHidden !== 'off' && !options.hidden) {
    const text = `/******** QUERY *********/\n${query}\n/************************/\n\n`;
    session.say(text);
    session.logFile?.write(text);
    if (settings.echoHidden === 'noexec') return null;
  }
  let result: RowsResult | null = null;
  let failed = false;
  wire.query(query);
  for (let event = await wire.next(); event; event = await wire.next()) {
    if (event.kind === 'notice') session.serverMessage(event.notice, query, false);
    else if (event.kind === 'tuples') result = { fields: event.fields, rows: event.rows };
    else if (event.kind === 'command') result = { fields: [], rows: [] };
    else if (event.kind === 'error') {
      session.serverMessage(event.error, query, true);
      session.lastError = { message: event.error, query };
      failed = true;
    } else if (event.kind === 'lost') {
      const { serverGone } = await import('./reconnect.js');
      await serverGone(session);
      failed = true;
    }
  }
  return failed ? null : result;
}

/** Runs a query whose failure is told in one line, without the query that the user did not write. */
export async function lookUp(session: Session, sql: string): Promise<RowsResult | null> {
  if (!session.wire) {
    session.error(NOT_CONNECTED);
    return null;
  }
  const { wire } = session;
  let rows: RowsResult | null = null;
  wire.query(sql);
  for (let event = await wire.next(); event; event = await wire.next()) {
    if (event.kind === 'tuples') rows = { fields: event.fields, rows: event.rows };
    else if (event.kind === 'error')
      session.error(`${event.error.severity ?? 'ERROR'}:  ${event.error.message}`);
  }
  return rows;
}
