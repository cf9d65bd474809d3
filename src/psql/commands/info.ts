/** Commands that show something: the catalog (\d, \l, \z, \sf, \sv), help, the last error. */
import { formatServerMessage } from '../server-message.js';
import type { SlashCommand, SlashContext, SlashResult } from '../slash.js';

async function runDescribe(context: SlashContext): Promise<SlashResult> {
  const { describe } = await import('../describe/index.js');
  const ok = await describe(context.session, context.name, () => context.arg('normal', true));
  if (ok === null) {
    context.session.error(`invalid command \\${context.name}`);
    if (context.session.isInteractive) context.session.hint('Try \\? for help.');
  }
  return ok ? 'done' : 'error';
}

async function runShowSource(context: SlashContext): Promise<SlashResult> {
  const { showSource } = await import('../describe/source.js');
  const { name } = context;
  const what = context.arg('line', true);
  const kind = name.startsWith('sf') ? 'function' : 'view';
  return (await showSource(context.session, kind, what, name.endsWith('+'))) ? 'done' : 'error';
}

async function runHelp(context: SlashContext): Promise<SlashResult> {
  const { slashHelp } = await import('../help.js');
  await slashHelp(context.session, context.arg());
  return 'done';
}

async function runSqlHelp(context: SlashContext): Promise<SlashResult> {
  const { sqlHelp } = await import('../help.js');
  await sqlHelp(context.session, context.arg('line', true));
  return 'done';
}

function runCopyright({ session }: SlashContext): SlashResult {
  session.say(
    'OpenAurora is distributed under the Apache License, version 2.0.\nPostgreSQL, which does the computing, is distributed under the PostgreSQL License:\nhttps://www.postgresql.org/about/licence/\n',
  );
  return 'done';
}

function runErrverbose({ session }: SlashContext): SlashResult {
  const { lastError } = session;
  if (!lastError) session.say('There is no previous error.\n');
  else {
    const settings = { verbosity: 'verbose', showContext: 'always' } as const;
    session.error(formatServerMessage(lastError.message, lastError.query, true, settings));
  }
  return 'done';
}

const COMMANDS: Record<string, SlashCommand> = {
  '?': { run: runHelp },
  h: { run: runSqlHelp, skip: 'line' },
  help: { run: runSqlHelp, skip: 'line' },
  sf: { run: runShowSource, skip: 'line' },
  'sf+': { run: runShowSource, skip: 'line' },
  sv: { run: runShowSource, skip: 'line' },
  'sv+': { run: runShowSource, skip: 'line' },
  copyright: { run: runCopyright },
  errverbose: { run: runErrverbose },
};

export function infoCommand(name: string): SlashCommand | null {
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name]!;
  if (/^d/.test(name) || /^(l|list)(x?\+?|\+x)$/.test(name) || /^z[Sx]*$/.test(name))
    return { run: runDescribe };
  return null;
}
