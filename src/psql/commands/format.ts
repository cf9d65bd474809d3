/** \pset and its short forms. */
import { listPrintOptions, setPrintOption } from '../pset.js';
import type { SlashCommand, SlashContext, SlashResult } from '../slash.js';

function set(context: SlashContext, option: string, value: string | null): SlashResult {
  const { session } = context;
  return setPrintOption(session, session.print, option, value, session.settings.quiet) ? 'done' : 'error';
}

/** Aligned, or another format when it is aligned already. */
function switchFormat(context: SlashContext, format: 'unaligned' | 'html'): SlashResult {
  const current = context.session.print.format;
  const isAway = format === 'html' ? current === 'html' : current !== 'aligned';
  return set(context, 'format', isAway ? 'aligned' : format);
}

export const formatCommands: Record<string, SlashCommand> = {
  a: { run: (context) => switchFormat(context, 'unaligned') },
  H: { run: (context) => switchFormat(context, 'html') },
  html: { run: (context) => switchFormat(context, 'html') },
  C: { run: (context) => set(context, 'title', context.arg('normal', true)) },
  f: { run: (context) => set(context, 'fieldsep', context.arg()) },
  t: { run: (context) => set(context, 'tuples_only', context.arg('normal', true)) },
  T: { run: (context) => set(context, 'tableattr', context.arg()) },
  x: { run: (context) => set(context, 'expanded', context.arg('normal', true)) },
  pset: {
    run(context) {
      const option = context.arg();
      const value = context.arg();
      if (option !== null) return set(context, option, value);
      context.session.say(listPrintOptions(context.session.print));
      return 'done';
    },
  },
};
