/** Files, the shell and the end: \i, \o, \copy, \cd, \!, \s, \q, \restrict. */
import { expandTilde, systemReason } from '../io.js';
import { runFile } from '../main-loop.js';
import { EXIT_SUCCESS } from '../session.js';
import { missingArgument, type SlashCommand, type SlashContext, type SlashResult } from '../slash.js';
import fs from 'node:fs';

async function runInclude(context: SlashContext): Promise<SlashResult> {
  const { session, name } = context;
  const file = context.arg('normal', true);
  if (file === null) return missingArgument(context);
  const isRelative = name === 'ir' || name === 'include_relative';
  const status = await runFile(session, expandTilde(file, session.io.env), isRelative);
  return status === EXIT_SUCCESS ? 'done' : 'error';
}

async function runOut(context: SlashContext): Promise<SlashResult> {
  const target = context.arg('file-or-pipe', true);
  return (await context.session.redirect(target)) ? 'done' : 'error';
}

async function runCopy(context: SlashContext): Promise<SlashResult> {
  const { slashCopy } = await import('../copy-command.js');
  return (await slashCopy(context.session, context.arg('line', true))) ? 'done' : 'error';
}

function runCd(context: SlashContext): SlashResult {
  const { session, name } = context;
  const folder = context.arg('normal', true) ?? expandTilde('~', session.io.env);
  try {
    process.chdir(folder);
    return 'done';
  } catch (err) {
    session.error(`\\${name}: could not change directory to "${folder}": ${systemReason(err)}`);
    return 'error';
  }
}

async function runShell(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const status = await session.shell(context.arg('line'));
  if (status !== 127) return 'done';
  session.error('\\!: failed');
  return 'error';
}

/** \s: the history on the screen, or into a file. */
async function runHistory(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const file = context.arg('normal', true);
  const text = session.history.map((line) => `${line}\n`).join('');
  if (file === null) {
    const { showText } = await import('../pager.js');
    await showText(`${text}\n`, session.print, session.io);
    return 'done';
  }
  try {
    fs.writeFileSync(expandTilde(file, session.io.env), text, { mode: 0o600 });
  } catch (err) {
    session.error(`could not save history to file "${file}": ${systemReason(err)}`);
    return 'error';
  }
  if (!session.settings.quiet) session.say(`Wrote history to file "${file}".\n`);
  return 'done';
}

function runRestrict(context: SlashContext): SlashResult {
  const key = context.arg('normal', true);
  if (key === null || key === '') return missingArgument(context);
  context.session.restrictKey = key;
  return 'done';
}

function runUnrestrict(context: SlashContext): SlashResult {
  const { session } = context;
  const key = context.arg('normal', true);
  if (key === null || key === '') return missingArgument(context);
  if (session.restrictKey === key) {
    session.restrictKey = null;
    return 'done';
  }
  session.error(
    session.restrictKey === null
      ? `\\${context.name}: not currently in restricted mode`
      : `\\${context.name}: wrong key`,
  );
  return 'error';
}

const include: SlashCommand = { run: runInclude };
const out: SlashCommand = { run: runOut, skip: 'file-or-pipe' };
const quit: SlashCommand = { run: () => 'quit' };

export const fileCommands: Record<string, SlashCommand> = {
  i: include,
  include,
  ir: include,
  include_relative: include,
  o: out,
  out,
  copy: { run: runCopy, skip: 'line' },
  cd: { run: runCd },
  '!': { run: runShell, skip: 'line' },
  s: { run: runHistory },
  q: quit,
  quit,
  restrict: { run: runRestrict },
  unrestrict: { run: runUnrestrict },
};
