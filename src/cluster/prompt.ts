import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { DbError } from '../engine/errors.js';

/** Asks for a password without echo on a terminal; reads a line where there is none. Throws USAGE_PASSWORD at end of input. */
export async function promptPassword(question: string): Promise<string> {
  return (await promptPasswords([question]))[0]!;
}

/** Several questions, one reader: a second one would find nothing left of an input that came in one piece. Throws as promptPassword. */
export async function promptPasswords(questions: readonly string[]): Promise<string[]> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: process.stdin.isTTY });
  const lines = reader[Symbol.asyncIterator]();
  const cancelled = new Promise<never>((_, reject) =>
    reader.once('SIGINT', () => reject(new DbError('USAGE_PASSWORD', 'cancelled'))),
  );
  cancelled.catch(() => undefined); // raced below; without a question nobody minds
  const answers: string[] = [];
  try {
    for (const question of questions) {
      process.stderr.write(question);
      const line = await Promise.race([lines.next(), cancelled]);
      if (process.stdin.isTTY) process.stderr.write('\n');
      if (line.done) throw new DbError('USAGE_PASSWORD', 'no password was given');
      answers.push(line.value);
    }
    return answers;
  } finally {
    reader.close();
  }
}
