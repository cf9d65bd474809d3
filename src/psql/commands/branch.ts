/** \if, \elif, \else, \endif. */
import { parseBoolean } from '../settings.js';
import type { SlashCommand, SlashContext, SlashResult } from '../slash.js';

/** The arguments as one expression, true or not; null (and a message) when it is neither. */
function isTrue(context: SlashContext, what: string): boolean {
  const expression = words(context).join(' ');
  const value = parseBoolean(expression);
  if (value === null)
    context.session.error(`unrecognized value "${expression}" for "${what}": Boolean expected`);
  return value ?? false;
}

function words(context: SlashContext): string[] {
  const list: string[] = [];
  for (let word = context.arg(); word !== null; word = context.arg()) list.push(word);
  return list;
}

/** Where the query text stood as a branch began. */
function saveText({ conditions, query, sql }: SlashContext): void {
  const level = conditions.top!;
  if (query) level.queryLength = query.text.length;
  level.parenDepth = sql?.parenDepth ?? 0;
}

/** Forgets query text of a branch not taken. */
function discardText({ conditions, query, sql }: SlashContext): void {
  const level = conditions.top!;
  if (query) query.text = query.text.slice(0, level.queryLength);
  if (sql) sql.parenDepth = level.parenDepth;
}

function runIf(context: SlashContext): SlashResult {
  const { conditions } = context;
  const wasActive = conditions.isActive;
  conditions.push(wasActive ? 'true' : 'ignored'); // active first, for the expression's variables to be expanded
  saveText(context);
  if (!wasActive) words(context);
  else if (!isTrue(context, '\\if expression')) conditions.top!.state = 'false';
  return 'done';
}

function runElif(context: SlashContext): SlashResult {
  const { conditions, session } = context;
  const level = conditions.top;
  switch (level?.state) {
    case 'true':
      saveText(context);
      level.state = 'ignored';
      words(context);
      return 'done';
    case 'false':
      discardText(context);
      level.state = 'true';
      if (!isTrue(context, '\\elif expression')) level.state = 'false';
      return 'done';
    case 'ignored':
      discardText(context);
      words(context);
      return 'done';
    default:
      session.error(level ? '\\elif: cannot occur after \\else' : '\\elif: no matching \\if');
      return 'error';
  }
}

function runElse(context: SlashContext): SlashResult {
  const { conditions, session } = context;
  const level = conditions.top;
  switch (level?.state) {
    case 'true':
      saveText(context);
      level.state = 'else-false';
      return 'done';
    case 'false':
      discardText(context);
      level.state = 'else-true';
      return 'done';
    case 'ignored':
      discardText(context);
      level.state = 'else-false';
      return 'done';
    default:
      session.error(level ? '\\else: cannot occur after \\else' : '\\else: no matching \\if');
      return 'error';
  }
}

function runEndif(context: SlashContext): SlashResult {
  const { conditions, session } = context;
  const level = conditions.top;
  if (!level) {
    session.error('\\endif: no matching \\if');
    return 'error';
  }
  if (level.state !== 'true' && level.state !== 'else-true') discardText(context);
  conditions.pop();
  return 'done';
}

export const branchCommands: Record<string, SlashCommand> = {
  if: { run: runIf, isBranching: true },
  elif: { run: runElif, isBranching: true },
  else: { run: runElse, isBranching: true },
  endif: { run: runEndif, isBranching: true },
};
