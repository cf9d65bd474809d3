/** \watch: runs a query again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sendWatched } from './send.js';
import type { Session } from './session.js';
import type { SlashContext, SlashResult } from './slash.js';

interface WatchOptions {
  intervalSeconds: number | null;
  count: number | null;
  minRows: number | null;
}

/** How long ^C may go unnoticed between two runs. */
const POLL_MS = 100;

export async function runWatch(context: SlashContext): Promise<SlashResult> {
  const { session, query, previous, sql } = context;
  const options = parseOptions(context);
  let ok = options !== null;
  if (options) {
    if (query && query.text === '') query.text = previous?.text ?? '';
    ok = await watch(session, query?.text ?? '', options);
  }
  if (query) query.text = '';
  sql?.reset();
  return ok ? 'done' : 'error';
}

function parseOptions(context: SlashContext): WatchOptions | null {
  const { session } = context;
  const options: WatchOptions = { intervalSeconds: null, count: null, minRows: null };
  const refuse = (message: string): null => {
    session.error(`\\watch: ${message}`);
    return null;
  };
  for (let word = context.arg('normal', true); word !== null; word = context.arg('normal', true)) {
    const equals = word.indexOf('=');
    const key = equals < 0 ? 'interval' : word.slice(0, equals);
    const value = word.slice(equals + 1);
    if (key === 'i' || key === 'interval') {
      if (options.intervalSeconds !== null) return refuse('interval value is specified more than once');
      const seconds = Number(value);
      if (value.trim() === '' || !(seconds >= 0)) return refuse(`incorrect interval value "${value}"`);
      options.intervalSeconds = seconds;
    } else if (key === 'c' || key === 'count') {
      if (options.count !== null) return refuse('iteration count is specified more than once');
      if (!/^\+?0*[1-9]\d*$/.test(value)) return refuse(`incorrect iteration count "${value}"`);
      options.count = Number(value);
    } else if (key === 'm' || key === 'min_rows') {
      if (options.minRows !== null) return refuse('minimum row count specified more than once');
      if (!/^\+?0*[1-9]\d*$/.test(value)) return refuse(`incorrect minimum row count "${value}"`);
      options.minRows = Number(value);
    } else return refuse(`unrecognized parameter "${word}"`);
  }
  return options;
}

async function watch(session: Session, query: string, options: WatchOptions): Promise<boolean> {
  if (query === '') {
    session.error('\\watch cannot be used with an empty query');
    return false;
  }
  const seconds = options.intervalSeconds ?? session.settings.watchIntervalSeconds;
  let left = options.count ?? Infinity;
  let status: 1 | 0 | -1;
  for (;;) {
    const started = performance.now();
    const stamp = `${timestamp(new Date())} (every ${Number(seconds.toPrecision(6))}s)\n`;
    const { title } = session.print;
    status = await sendWatched(session, query, {
      watch: {
        options: { ...session.print, pager: 'off', title: title === null ? stamp : `${title}\t${stamp}` },
        minRows: options.minRows ?? 0,
      },
    });
    if (status <= 0 || --left <= 0) break;
    const until = started + seconds * 1000;
    while (!session.cancelPressed && performance.now() < until)
      await sleep(Math.min(POLL_MS, until - performance.now()));
    if (session.cancelPressed) break;
  }
  session.say('\n');
  return status >= 0;
}

/** A date as the C locale's "%c" has it. */
function timestamp(date: Date): string {
  const [weekday, month, , year] = date.toDateString().split(' ');
  const day = String(date.getDate()).padStart(2);
  return `${weekday} ${month} ${day} ${date.toTimeString().slice(0, 8)} ${year}`;
}
