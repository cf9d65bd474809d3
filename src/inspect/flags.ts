/** What the inspection commands share on the command line. */
import type { Writable } from 'node:stream';
import { Flags } from '@oclif/core';
import { DbError } from '../engine/errors.js';
import { parseLsn, type Lsn } from '../engine/lsn.js';

export const lsnFlag = Flags.custom<Lsn>({ helpValue: 'LSN', parse: async (text) => parseLsn(text) });

/** A number of seconds, fractions allowed. */
export const secondsFlag = Flags.custom<number, { min: number; max: number }>({
  helpValue: 'SECONDS',
  parse: async (text, _context, { min, max }) => {
    const value = /^\d*\.?\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new Error(`expected a number of seconds from ${min} to ${max}, not "${text}"`);
  },
});

/** A writer with back-pressure; resolves to false once the reader has gone (`| head`), which is no failure. */
export function outputWriter(out: Writable): (text: string) => Promise<boolean> {
  let gone = false;
  let wake: () => void = () => undefined;
  let failure: Error | null = null;
  out.on('error', (err: NodeJS.ErrnoException) => {
    gone = true;
    if (err.code !== 'EPIPE') failure = err;
    wake();
  });
  return async (text) => {
    if (!gone && !out.write(text)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        out.once('drain', resolve);
      });
    }
    if (failure) throw new DbError('USAGE_OUTPUT', `could not write: ${failure.message}`, { cause: failure });
    return !gone;
  };
}

/** Runs `work` with a signal that ^C fires. */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    return await work(stop.signal);
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
