/** Commands on the query buffer: send it in some way, show, reset, edit, write, watch it. */
import { expandTilde } from '../io.js';
import { setPrintOption } from '../pset.js';
import { missingArgument, type SlashCommand, type SlashContext, type SlashResult } from '../slash.js';
import { runWatch } from '../watch.js';

/** \g [(OPTION=VALUE ...)] [FILE] and \gx. */
function runGo(context: SlashContext): SlashResult {
  const { session, name } = context;
  let target = context.arg('file-or-pipe');
  if (target?.startsWith('(')) {
    if (!goOptions(context, target.slice(1))) {
      if (session.request.savedOptions) session.print = session.request.savedOptions;
      session.request.savedOptions = null;
      return 'error';
    }
    target = context.arg('file-or-pipe');
  }
  session.request.target = target === null ? null : expandTilde(target, session.io.env);
  if (name === 'gx') {
    savePrintOptions(context);
    session.print.expanded = 'on';
  }
  return 'send';
}

function savePrintOptions({ session }: SlashContext): void {
  session.request.savedOptions ??= structuredClone(session.print);
}

/** Print options for one query, up to the closing parenthesis. */
function goOptions(context: SlashContext, first: string): boolean {
  const { session, name } = context;
  let ok = true;
  for (let word: string | null = first; ; word = context.arg()) {
    if (word === null) {
      session.error(`\\${name}: missing right parenthesis`);
      return false;
    }
    const isLast = word.endsWith(')');
    const option = isLast ? word.slice(0, -1) : word;
    if (option !== '') {
      const equals = option.indexOf('=');
      savePrintOptions(context);
      const key = equals < 0 ? option : option.slice(0, equals);
      const value = equals < 0 ? null : option.slice(equals + 1);
      if (!setPrintOption(session, session.print, key, value, true)) ok = false;
    }
    if (isLast) return ok;
  }
}

function runPrint({ session, query, previous }: SlashContext): SlashResult {
  const text = query?.text || previous?.text;
  if (text) session.say(`${text}\n`);
  else if (!session.settings.quiet) session.say('Query buffer is empty.\n');
  return 'done';
}

function runReset({ session, query, sql }: SlashContext): SlashResult {
  if (query) query.text = '';
  sql?.reset();
  if (!session.settings.quiet) session.say('Query buffer reset (cleared).\n');
  return 'done';
}

async function runWrite(context: SlashContext): Promise<SlashResult> {
  const { session, query, previous } = context;
  const target = context.arg('file-or-pipe', true);
  if (!query) {
    session.error('no query buffer');
    return 'error';
  }
  if (target === null) return missingArgument(context);
  const sink = session.openOutput(target);
  if (!sink) return 'error';
  const text = query.text || previous?.text;
  if (text) sink.write(`${text}\n`);
  if (!target.startsWith('|')) {
    await sink.close();
    return 'done';
  }
  const status = await session.closeSink(sink);
  if (status === 0) return 'done';
  const { describeStatus } = await import('../io.js');
  session.error(`${target}: ${describeStatus(status)}`);
  return 'error';
}

async function runEdit(context: SlashContext): Promise<SlashResult> {
  const { session, query, previous } = context;
  if (!query) {
    session.error('no query buffer');
    return 'error';
  }
  let file = context.arg('normal', true);
  let line = file === null ? null : context.arg('normal', true);
  if (line === null && file !== null && /^\d+$/.test(file)) {
    line = file;
    file = null;
  }
  if (line !== null && !(parseInt(line, 10) >= 1)) {
    session.error(`invalid line number: ${line}`);
    query.text = '';
    return 'error';
  }
  const { editText } = await import('../edit.js');
  const isPrevious = file === null && query.text === '';
  if (isPrevious) query.text = previous?.text ?? '';
  const edited = await editText(session, query.text, file, line === null ? null : parseInt(line, 10));
  if (edited === null) return 'error';
  // A file or a previous query left unchanged is not run again.
  query.text = edited.isChanged || (!isPrevious && file === null) ? edited.text : '';
  return 'edited';
}

const NEW_FUNCTION = `CREATE FUNCTION ( )
 RETURNS 
 LANGUAGE 
 -- common options:  IMMUTABLE  STABLE  STRICT  SECURITY DEFINER
AS $function$

$function$
`;
const NEW_VIEW = 'CREATE VIEW  AS\n SELECT \n  -- something...\n';

/** \ef and \ev: the definition of a function or view, or an empty one, into the editor and then into the query buffer. */
async function runEditObject(context: SlashContext): Promise<SlashResult> {
  const { session, name, query } = context;
  if (!query) {
    session.error('no query buffer');
    return 'error';
  }
  const isFunction = name === 'ef';
  const text = context.arg('line', true);
  // A line number may follow the name, after a space or the closing parenthesis.
  const numbered = /^(.*[\s)])(\d+)\s*$/s.exec(text ?? '');
  const object = (numbered ? numbered[1]! : (text ?? '')).trim();
  const lineText = numbered ? numbered[2]! : null;
  const line = lineText === null ? null : parseInt(lineText, 10);
  query.text = '';
  if (line !== null && line < 1) {
    session.error(`invalid line number: ${lineText}`);
    return 'error';
  }
  const { functionSource, viewSource } = await import('../describe/source.js');
  const source = !object ? (isFunction ? NEW_FUNCTION : NEW_VIEW) : await (isFunction ? functionSource : viewSource)(session, object); // prettier-ignore
  if (source === null) return 'error';
  const before =
    isFunction && object ? source.split('\n').findIndex((row) => /^(AS|BEGIN|RETURN) /.test(row)) : 0;
  const { editText } = await import('../edit.js');
  const edited = await editText(session, source, null, line === null ? null : line + Math.max(before, 0));
  if (!edited) return 'error';
  if (!edited.isChanged) {
    session.say('No changes\n');
    return 'done';
  }
  query.text = edited.text;
  return 'edited';
}

export const queryCommands: Record<string, SlashCommand> = {
  g: { run: runGo, skip: 'file-or-pipe' },
  gx: { run: runGo, skip: 'file-or-pipe' },
  gdesc: {
    run({ session }) {
      session.request.gdesc = true;
      return 'send';
    },
  },
  gexec: {
    run({ session }) {
      session.request.gexec = true;
      return 'send';
    },
  },
  gset: {
    run(context) {
      context.session.request.gsetPrefix = context.arg() ?? '';
      return 'send';
    },
  },
  bind: {
    run(context) {
      const values: string[] = [];
      for (let value = context.arg(); value !== null; value = context.arg()) values.push(value);
      context.session.request.bind = values;
      return 'done';
    },
  },
  crosstabview: {
    run(context) {
      const next = (): string | null => context.arg('normal', true);
      context.session.request.crosstab = [next(), next(), next(), next()];
      return 'send';
    },
  },
  watch: { run: runWatch },
  p: { run: runPrint },
  print: { run: runPrint },
  r: { run: runReset },
  reset: { run: runReset },
  w: { run: runWrite, skip: 'file-or-pipe' },
  write: { run: runWrite, skip: 'file-or-pipe' },
  e: { run: runEdit },
  edit: { run: runEdit },
  ef: { run: runEditObject, skip: 'line' },
  ev: { run: runEditObject, skip: 'line' },
};
