import type { LineSource } from './line-source.js';
import { renderPrompt } from './prompt.js';
import type { Session } from './session.js';
import type { Wire } from './wire.js';

/** Bytes sent to the server at once. */
const CHUNK = 65536;

/**
 * Feeds COPY FROM STDIN: from `source`, or from where commands come from, up to a line "\." there. False when reading failed.
 */
export async function copyIn(
  session: Session,
  wire: Wire,
  source: LineSource | null,
  binary: boolean,
): Promise<boolean> {
  const from = source ?? session.source ?? session.stdin;
  const isScript = from === session.source || (source === null && session.source === null);
  const atTerminal = from === session.stdin && session.io.stdinIsTty;
  if (atTerminal && !session.settings.quiet)
    session.say(
      'Enter data to be copied followed by a newline.\nEnd with a backslash and a period on a line by itself, or an EOF signal.\n',
    );
  try {
    if (binary) {
      for await (const chunk of from.rest()) await wire.copyData(chunk);
    } else await copyLines(session, wire, from, isScript, atTerminal);
    wire.endCopy(session.cancelPressed ? 'canceled by user' : null);
    return !session.cancelPressed;
  } catch {
    wire.endCopy('aborted because of read failure'); // the server's answer to this is what gets reported
    return false;
  }
}

async function copyLines(
  session: Session,
  wire: Wire,
  from: LineSource,
  isScript: boolean,
  atTerminal: boolean,
): Promise<void> {
  let batch: Buffer[] = [];
  let size = 0;
  while (!session.cancelPressed) {
    let line: Buffer | null;
    if (atTerminal) {
      const typed = await session.ask(renderPrompt(session, 'copy'), true);
      line = typed === null ? null : Buffer.from(`${typed}\n`);
    } else line = await from.next();
    if (line === null) break;
    if (isScript) {
      session.lineNo++;
      session.statementLine++;
      if (line.length <= 4 && /^\\\.\r?\n$/.test(line.toString('latin1'))) break;
    }
    batch.push(line);
    size += line.length;
    if (size >= CHUNK) {
      await wire.copyData(Buffer.concat(batch));
      batch = [];
      size = 0;
    }
  }
  if (size > 0) await wire.copyData(Buffer.concat(batch));
}
