/** Variables, the environment, and text: \set, \echo, \prompt and the like. */
import { parseBoolean } from '../settings.js';
import { missingArgument, type SlashCommand, type SlashContext, type SlashResult } from '../slash.js';

function runSet(context: SlashContext): SlashResult {
  const { variables } = context.session;
  const name = context.arg();
  if (name === null) {
    context.session.say(
      variables
        .list()
        .map(([key, value]) => `${key} = '${value}'\n`)
        .join(''),
    );
    return 'done';
  }
  let value = '';
  for (let part = context.arg(); part !== null; part = context.arg()) value += part;
  return variables.set(name, value) ? 'done' : 'error';
}

function runUnset(context: SlashContext): SlashResult {
  const name = context.arg();
  if (name === null) return missingArgument(context);
  return context.session.variables.set(name, null) ? 'done' : 'error';
}

function runEcho(context: SlashContext): SlashResult {
  const { session, name } = context;
  const words: string[] = [];
  let newline = '\n';
  for (let word = context.quotedArg(); word; word = context.quotedArg()) {
    if (words.length === 0 && newline !== '' && word.quote === '' && word.text === '-n') newline = '';
    else words.push(word.text);
  }
  const text = words.join(' ') + newline;
  if (name === 'warn') session.io.stderr.write(text);
  else if (name === 'qecho') session.queryOut.write(text);
  else session.say(text);
  return 'done';
}

async function runPrompt(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const first = context.arg();
  const second = context.arg();
  if (first === null) return missingArgument(context);
  const variable = second ?? first;
  const prompt = second === null ? '' : first;
  let answer: string | null;
  if (session.inputFile === null) answer = await session.ask(prompt, true);
  else {
    session.say(prompt);
    const line = await session.stdin.next();
    answer = line === null ? null : line.toString().replace(/\n$/, '');
    if (answer === null) {
      session.error(`\\${context.name}: could not read value for variable`);
      return 'error';
    }
  }
  return session.variables.set(variable, answer ?? '') ? 'done' : 'error';
}

function runGetenv(context: SlashContext): SlashResult {
  const variable = context.arg();
  const name = context.arg();
  if (variable === null || name === null) return missingArgument(context);
  const value = context.session.io.env[name];
  if (value === undefined) return 'done';
  return context.session.variables.set(variable, value) ? 'done' : 'error';
}

function runSetenv(context: SlashContext): SlashResult {
  const { session } = context;
  const name = context.arg();
  const value = context.arg();
  if (name === null) return missingArgument(context);
  if (name.includes('=')) {
    session.error(`\\${context.name}: environment variable name must not contain "="`);
    return 'error';
  }
  if (value === null) delete session.io.env[name];
  else session.io.env[name] = value;
  return 'done';
}

function runTiming(context: SlashContext): SlashResult {
  const { session } = context;
  const word = context.arg();
  const on = word === null ? !session.timing : parseBoolean(word);
  if (on === null) session.error(`unrecognized value "${word}" for "\\timing": Boolean expected`);
  else session.timing = on;
  if (!session.settings.quiet) session.say(`Timing is ${session.timing ? 'on' : 'off'}.\n`);
  return on === null ? 'error' : 'done';
}

export const variableCommands: Record<string, SlashCommand> = {
  set: { run: runSet },
  unset: { run: runUnset },
  echo: { run: runEcho },
  qecho: { run: runEcho },
  warn: { run: runEcho },
  prompt: { run: runPrompt },
  getenv: { run: runGetenv },
  setenv: { run: runSetenv },
  timing: { run: runTiming },
};
