/** \lo_import, \lo_export, \lo_unlink, \lo_list: large objects from and to files on this side. */
import fs from 'node:fs';
import pg from 'pg';
import { expandTilde, systemReason } from '../io.js';
import { htmlEscape } from '../print/markup.js';
import { execute, lookUp } from '../run.js';
import type { Session } from '../session.js';
import { missingArgument, type SlashCommand, type SlashContext, type SlashResult } from '../slash.js';

/** Bytes moved by one query. */
const CHUNK = 256 * 1024;

/** Runs `work` in the transaction that is open, or in one of its own. */
async function inTransaction(context: SlashContext, work: () => Promise<boolean>): Promise<SlashResult> {
  const { session, name } = context;
  if (!session.wire) {
    session.error(`\\${name}: not connected to a database`);
    return 'error';
  }
  const { status } = session.wire;
  if (status === 'E') {
    session.error(`\\${name}: current transaction is aborted`);
    return 'error';
  }
  const isOwn = status === 'I';
  if (isOwn && !(await execute(session, 'BEGIN'))) return 'error';
  const ok = await work();
  if (!isOwn || (ok && !session.settings.autocommit)) return ok ? 'done' : 'error';
  const ended = await execute(session, ok ? 'COMMIT' : 'ROLLBACK');
  return ok && ended ? 'done' : 'error';
}

function say(session: Session, text: string): void {
  if (!session.settings.quiet) {
    const isHtml = session.print.format === 'html';
    session.queryOut.write(isHtml ? `<p>${htmlEscape(text)}</p>\n` : `${text}\n`);
  }
  session.logFile?.write(`${text}\n`);
}

/** An OID as atoi reads it. */
function oidOf(text: string): number {
  return (parseInt(text, 10) || 0) >>> 0;
}

async function runImport(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const file = context.arg('normal', true);
  const comment = context.arg('normal', true);
  if (file === null) return missingArgument(context);
  return inTransaction(context, async () => {
    const oid = await importFile(session, expandTilde(file, session.io.env));
    if (oid === null) return false;
    if (comment !== null) {
      const sql = `COMMENT ON LARGE OBJECT ${oid} IS ${pg.escapeLiteral(comment)}`;
      if (!(await execute(session, sql))) return false;
    }
    say(session, `lo_import ${oid}`);
    session.variables.set('LASTOID', oid);
    return true;
  });
}

async function importFile(session: Session, file: string): Promise<string | null> {
  let fd: number;
  try {
    fd = fs.openSync(file, 'r');
  } catch (err) {
    session.info(`could not open file "${file}": ${systemReason(err)}`);
    return null;
  }
  try {
    const created = await lookUp(session, 'SELECT pg_catalog.lo_create(0)');
    const oid = created?.rows[0]?.[0] ?? null;
    if (oid === null) return null;
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (let at = 0; ;) {
      const count = fs.readSync(fd, chunk, 0, CHUNK, null);
      if (count === 0) return oid;
      const bytes = `'\\x${chunk.toString('hex', 0, count)}'::pg_catalog.bytea`;
      if (!(await lookUp(session, `SELECT pg_catalog.lo_put(${oid}, ${at}, ${bytes})`))) return null;
      at += count;
    }
  } catch (err) {
    session.info(`could not read from file "${file}": ${systemReason(err)}`);
    return null;
  } finally {
    fs.closeSync(fd);
  }
}

async function runExport(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const oid = context.arg('normal', true);
  const file = context.arg('normal', true);
  if (oid === null || file === null) return missingArgument(context);
  return inTransaction(context, async () => {
    if (!(await exportFile(session, oidOf(oid), expandTilde(file, session.io.env)))) return false;
    say(session, 'lo_export');
    return true;
  });
}

async function exportFile(session: Session, oid: number, file: string): Promise<boolean> {
  const next = async (at: number): Promise<Buffer | null> => {
    const result = await lookUp(session, `SELECT pg_catalog.lo_get(${oid}, ${at}, ${CHUNK})`);
    const text = result?.rows[0]?.[0];
    return typeof text !== 'string' ? null : Buffer.from(text.replace(/^\\x/, ''), 'hex');
  };
  let chunk = await next(0);
  if (chunk === null) return false;
  let fd: number | null = null;
  try {
    fd = fs.openSync(file, 'w', 0o666);
    for (let at = 0; chunk.length > 0;) {
      fs.writeSync(fd, chunk);
      at += chunk.length;
      if (chunk.length < CHUNK) break;
      chunk = await next(at);
      if (chunk === null) return false;
    }
    return true;
  } catch (err) {
    session.info(`could not ${fd === null ? 'open' : 'write to'} file "${file}": ${systemReason(err)}`);
    return false;
  } finally {
    if (fd !== null) fs.closeSync(fd);
  }
}

async function runUnlink(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const text = context.arg('normal', true);
  if (text === null) return missingArgument(context);
  const oid = oidOf(text);
  return inTransaction(context, async () => {
    if (!(await lookUp(session, `SELECT pg_catalog.lo_unlink(${oid})`))) return false;
    say(session, `lo_unlink ${oid}`);
    return true;
  });
}

async function runList({ session, name }: SlashContext): Promise<SlashResult> {
  const { describe } = await import('../describe/index.js');
  return (await describe(session, name.replace('lo_list', 'dl'), () => null)) ? 'done' : 'error';
}

export const largeObjectCommands: Record<string, SlashCommand> = {
  lo_import: { run: runImport },
  lo_export: { run: runExport },
  lo_unlink: { run: runUnlink },
  lo_list: { run: runList },
  'lo_list+': { run: runList },
};
