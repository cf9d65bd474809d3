/** A picture on a terminal that is drawn anew every while, and when the terminal changes its size, until q or ^C. */
import './always-draw.js';
import { useEffect, useState, type ReactNode } from 'react';
import { Box, Text, render, useApp, useInput, useStdout } from 'ink';
import { errorMessage } from '../engine/errors.js';
import type { Tone, ToneLine } from '../inspect/tone.js';

const COLOURS: Readonly<Record<Tone, string | undefined>> = {
  plain: undefined,
  strong: undefined,
  faint: undefined,
  good: 'green',
  doubtful: 'yellow',
  bad: 'red',
};
/** Rows of the terminal that are not for the picture: the footer, and the line of the cursor. */
const ROWS_KEPT = 2;
const ENTER_SCREEN = '\x1b[?1049h\x1b[H';
const LEAVE_SCREEN = '\x1b[?1049l';

export interface LiveView<T> {
  /** In the footer. */
  title: string;
  refreshMs: number;
  look(): Promise<T>;
  /** The picture, at best of no more than `rows` lines. */
  lines(value: T, size: { columns: number; rows: number }): ToneLine[];
  /** What to do when it is longer; in the line that says so. */
  moreHint?: string;
}

/**
 * On a screen of its own (`full`): the terminal is as before when the user has ended it. Else the last picture stays on it.
 * Rejects with what look() throws.
 */
export async function showLive<T>(view: LiveView<T>, screen: 'full' | 'inline'): Promise<void> {
  if (screen === 'inline') return void (await render(<Live {...view} />).waitUntilExit());
  const leave = (): void => void process.stdout.write(LEAVE_SCREEN);
  process.stdout.write(ENTER_SCREEN);
  process.once('exit', leave);
  try {
    await render(<Live {...view} />).waitUntilExit();
  } finally {
    process.off('exit', leave);
    leave();
  }
}

function Live<T>({ title, refreshMs, look, lines, moreHint }: LiveView<T>): ReactNode {
  const { exit } = useApp();
  const { columns, rows } = useTerminalSize();
  const [seen, setSeen] = useState<{ value: T; at: Date } | null>(null);
  useInput((input) => {
    if (input === 'q' || input === 'Q') exit();
  });
  useEffect(() => {
    let ended = false;
    let timer: NodeJS.Timeout | undefined;
    const refresh = async (): Promise<void> => {
      try {
        const value = await look();
        if (ended) return;
        setSeen({ value, at: new Date() });
        timer = setTimeout(() => void refresh(), refreshMs);
      } catch (err) {
        if (!ended) exit(err instanceof Error ? err : new Error(errorMessage(err)));
      }
    };
    void refresh();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [look, refreshMs, exit]);
  const room = Math.max(1, rows - ROWS_KEPT);
  const all = seen === null ? [] : lines(seen.value, { columns, rows: room });
  const shown = all.length > room ? all.slice(0, room - 1) : all;
  return (
    <Box flexDirection="column">
      {shown.map((line, i) => (
        <Text key={i} wrap="truncate">
          {line.length === 0
            ? ' '
            : line.map(({ text, tone }, k) => (
                <Text key={k} color={COLOURS[tone]} bold={tone === 'strong'} dimColor={tone === 'faint'}>
                  {text}
                </Text>
              ))}
        </Text>
      ))}
      {shown.length < all.length ? (
        <Text dimColor>{`${all.length - shown.length} more lines${moreHint ? `; ${moreHint}` : ''}`}</Text>
      ) : null}
      <Text dimColor wrap="truncate">
        {`${title}  ${seen === null ? 'asking' : seen.at.toLocaleTimeString()}  q: quit`}
      </Text>
    </Box>
  );
}

function useTerminalSize(): { columns: number; rows: number } {
  const { stdout } = useStdout();
  const now = (): { columns: number; rows: number } => ({
    columns: stdout.columns || 80,
    rows: stdout.rows || 24,
  });
  const [size, setSize] = useState(now);
  useEffect(() => {
    const onResize = (): void => setSize(now());
    stdout.on('resize', onResize);
    return () => void stdout.off('resize', onResize);
  });
  return size;
}
