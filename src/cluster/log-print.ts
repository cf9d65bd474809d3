/** A line of a daemon's log for people: time, level, whose, message, then the rest as key=value. */
import chalk from 'chalk';
import type { LogLine } from './log-files.js';

/** What every line says of the process that wrote it. */
const USUAL = new Set(['level', 'time', 'component', 'pid', 'node', 'msg']);

/** Other lines, PostgreSQL's among them, as they are. `width`: of the longest name. */
export function logText({ name, text }: LogLine, width: number): string {
  const entry = parse(text);
  const who = chalk.cyan(name.padEnd(width));
  if (entry === null) return `${who}  ${text}`;
  const level = String(entry['level'] ?? 'log').toUpperCase();
  const time = String(entry['time']).replace('T', ' ');
  const facts = Object.entries(entry)
    .filter(([key]) => !USUAL.has(key))
    .map(([key, value]) => `${chalk.dim(`${key}=`)}${valueText(value)}`);
  return `${who}  ${chalk.dim(time)} ${paint(level)} ${String(entry['msg'] ?? '')}${facts.length > 0 ? `  ${facts.join(' ')}` : ''}`;
}

/** One JSON object, whatever the line was: with the name of its log, and the text of a line that is no JSON under `msg`. */
export function logJson({ name, text }: LogLine): string {
  const entry = parse(text);
  return JSON.stringify(entry === null ? { log: name, msg: text } : { log: name, ...entry });
}

function parse(text: string): Record<string, unknown> | null {
  if (!text.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(text);
    const entry = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
    return typeof entry?.['time'] === 'string' ? entry : null;
  } catch {
    return null; // cut short by a crash, or not ours
  }
}

function paint(level: string): string {
  const padded = level.padEnd(5);
  if (level === 'ERROR' || level === 'FATAL') return chalk.red(padded);
  return level === 'WARN' ? chalk.yellow(padded) : padded;
}

function valueText(value: unknown): string {
  if (typeof value !== 'string') {
    const stack = (value as { message?: unknown } | null)?.message;
    return JSON.stringify(typeof stack === 'string' ? stack : value);
  }
  return /^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value);
}
