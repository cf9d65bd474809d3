/** Runs a command line on a pseudo terminal of a given size (script of util-linux) and plays keys to it. */
import { spawn, spawnSync } from 'node:child_process';

export function hasTerminal(): boolean {
  return spawnSync('script', ['--version']).error === undefined;
}

export interface Played {
  /** All that it wrote, escapes included. */
  screen: string;
  status: number;
  /** The terminal's modes were the same before and after. */
  modesKept: boolean;
}

/**
 * `play` sees all output so far each time that some comes, and returns keys to send, or null; it is called no more once it has returned
 * keys. What follows is up to the command.
 */
export async function playTerminal(
  command: string,
  { rows, columns }: { rows: number; columns: number },
  play: (screen: string) => string | null,
): Promise<Played> {
  const line = `stty rows ${rows} cols ${columns}; stty -g; ${command}; echo "status $?"; stty -g`;
  const child = spawn('script', ['-qefc', line, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, CI: 'true' }, // a terminal is one there, too
  });
  let screen = '';
  let played = false;
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk.toString();
    const keys = played ? null : play(screen);
    if (keys === null) return;
    played = true;
    child.stdin.write(keys);
  });
  await new Promise((resolve) => child.once('close', resolve));
  child.stdin.end();
  const modes = [...screen.matchAll(/^[0-9a-f]+(:[0-9a-f]+){10,}\r?$/gm)].map(([text]) => text.trim());
  return {
    screen,
    status: Number(/status (\d+)\r\n/.exec(screen)?.[1] ?? NaN),
    modesKept: modes.length === 2 && modes[0] === modes[1],
  };
}
