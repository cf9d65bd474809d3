/** `aurora inspect gossip --watch` on a terminal: the views, drawn anew as they change, until q or ^C. */
import './live.js';
import { useEffect, useState, type ReactNode } from 'react';
import { Box, Text, render, useApp, useInput, useStdout } from 'ink';
import { errorMessage } from '../engine/errors.js';
import type { Tone, ToneLine } from '../inspect/gossip-print.js';

const COLOURS: Readonly<Record<Tone, string | undefined>> = {
  plain: undefined,
  strong: undefined,
  good: 'green',
  doubtful: 'yellow',
  bad: 'red',
};
/** Rows of the terminal that are not for the views: the footer, and the line of the cursor. */
const ROWS_KEPT = 3;

interface WatchProps {
  title: string;
  refreshMs: number;
  look(): Promise<ToneLine[]>;
}

/** Resolves when the user has ended it. The terminal is as before then, with the last picture left on it. */
export async function watchGossip(props: WatchProps): Promise<void> {
  await render(<GossipWatch {...props} />).waitUntilExit();
}

function GossipWatch({ title, refreshMs, look }: WatchProps): ReactNode {
  const { exit } = useApp();
  const { stdout } = useStdout();
  const [lines, setLines] = useState<ToneLine[]>([]);
  const [at, setAt] = useState<Date | null>(null);
  useInput((input) => {
    if (input === 'q' || input === 'Q') exit();
  });
  useEffect(() => {
    let ended = false;
    let timer: NodeJS.Timeout | undefined;
    const refresh = async (): Promise<void> => {
      try {
        const next = await look();
        if (ended) return;
        setLines(next);
        setAt(new Date());
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
  const room = Math.max(1, (stdout.rows || 24) - ROWS_KEPT);
  const shown = lines.length > room ? lines.slice(0, room - 1) : lines;
  return (
    <Box flexDirection="column">
      {shown.map((line, i) => (
        <Text key={i} wrap="truncate">
          {line.length === 0
            ? ' '
            : line.map(({ text, tone }, k) => (
                <Text key={k} color={COLOURS[tone]} bold={tone === 'strong'}>
                  {text}
                </Text>
              ))}
        </Text>
      ))}
      {shown.length < lines.length ? (
        <Text dimColor>{`${lines.length - shown.length} more lines; --node N shows one node`}</Text>
      ) : null}
      <Text dimColor wrap="truncate">
        {`${title}  ${at === null ? 'asking' : at.toLocaleTimeString()}  q: quit`}
      </Text>
    </Box>
  );
}
