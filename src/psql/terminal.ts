/** Questions to the person at the terminal, also when standard input is something else. */
import fs from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import tty from 'node:tty';
import type { Session } from './session.js';

/** Asks on /dev/tty; where there is none, on standard error and standard input. */
export function terminalAsk(session: Session): (prompt: string, echo: boolean) => Promise<string | null> {
  const plain = session.ask;
  return async (prompt, echo) => {
    let fd: number;
    try {
      fd = fs.openSync('/dev/tty', 'r+');
    } catch {
      return plain(prompt, echo); // no terminal at all: a line of standard input has to do
    }
    const input = new tty.ReadStream(fd);
    const output = new tty.WriteStream(fd);
    output.write(prompt);
    const shown = echo ? output : new Writable({ write: (_chunk, _encoding, done) => done() });
    const reader = createInterface({ input, output: shown, terminal: true });
    try {
      return await new Promise<string | null>((resolve) => {
        reader.once('line', resolve);
        reader.once('close', () => resolve(null));
        reader.once('SIGINT', () => resolve(null));
      });
    } finally {
      reader.close();
      if (!echo) output.write('\n');
      input.destroy();
    }
  };
}
