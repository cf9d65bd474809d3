import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { DbError } from '../engine/errors.js';

/** Asks for a password without echo on a terminal; reads a line where there is none. Throws USAGE_PASSWORD at end of input. */
export async function promptPassword(question: string): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: process.stdin.isTTY });
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once('line', resolve);
      reader.once('close', () => reject(new DbError('USAGE_PASSWORD', 'no password was given')));
      reader.once('SIGINT', () => reject(new DbError('USAGE_PASSWORD', 'cancelled')));
    });
  } finally {
    reader.close();
    if (process.stdin.isTTY) process.stderr.write('\n');
  }
}
