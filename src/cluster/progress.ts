/** Progress of what takes longer than a moment: a line that changes on a terminal, a plain line now and then elsewhere. */

/** Nothing is shown of what is done within this time. */
const QUIET_MS = 700;
const TERMINAL_MS = 100;
const PLAIN_MS = 10_000;
const BAR_WIDTH = 24;
const CLEAR_LINE = '\r\x1b[K';

export interface Progressing {
  /** "importing into storage node 1". */
  readonly what: string;
  readonly done: number;
  /** Null when nobody knows how much there is. */
  readonly total: number | null;
  readonly unit: string;
}

export interface ProgressOutput {
  /** Of the terminal, if there is one to draw on; usually standard error. */
  terminal: { write(text: string): unknown; columns?: number } | null;
  /** Takes a plain line. */
  say(line: string): void;
  now?(): number;
}

export class Progress {
  private readonly now: () => number;
  private what = '';
  private begunMs = 0;
  private shownMs = 0;
  private drawn = false;

  constructor(private readonly output: ProgressOutput) {
    this.now = output.now ?? ((): number => performance.now());
  }

  report(at: Progressing): void {
    const now = this.now();
    if (at.what !== this.what) {
      this.end();
      this.what = at.what;
      this.begunMs = this.shownMs = now;
    }
    const { terminal, say } = this.output;
    if (now - this.begunMs < QUIET_MS) return;
    if (now - this.shownMs < (terminal ? TERMINAL_MS : PLAIN_MS)) return;
    this.shownMs = now;
    if (!terminal) return say(`${at.what}: ${amount(at)}`);
    const columns = (terminal.columns || 80) - 1;
    terminal.write(CLEAR_LINE + `${at.what} ${bar(at)}${amount(at)}`.slice(0, columns));
    this.drawn = true;
  }

  /** Takes the line away again; whoever reports next begins anew. */
  end(): void {
    if (this.drawn) this.output.terminal?.write(CLEAR_LINE);
    this.drawn = false;
    this.what = '';
  }
}

/** Drawn on standard error if that is a terminal; plain lines go to `say`. */
export function terminalProgress(say: (line: string) => void): Progress {
  return new Progress({ terminal: process.stderr.isTTY ? process.stderr : null, say });
}

function bar({ done, total }: Progressing): string {
  if (total === null || total <= 0) return '';
  const filled = Math.floor(share(done, total) * BAR_WIDTH);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] `;
}

/** `1200 of 51000 pages (2 %)`. */
function amount({ done, total, unit }: Progressing): string {
  if (total === null || total <= 0) return `${done} ${unit}`;
  return `${done} of ${total} ${unit} (${Math.floor(share(done, total) * 100)} %)`;
}

function share(done: number, total: number): number {
  return Math.min(1, Math.max(0, done / total));
}
