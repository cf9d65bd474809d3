/** psql at a terminal: line editing, history, completion, prompts. */
import fs from 'node:fs';
import os from 'node:os';
import { createInterface, type Interface } from 'node:readline';
import { ColouredOutput } from './coloured-output.js';
import { complete } from './complete.js';
import { highlight } from './highlight.js';
import { MainLoop, type Lines } from './main-loop.js';
import { expandTilde } from './io.js';
import { renderPrompt } from './prompt.js';
import { PSQL_VERSION, type Session } from './session.js';
import { printNotifications } from './send.js';

/** GNU readline's history files, as psql writes them, have this for a newline within an entry. */
const NEWLINE_MARK = '\x01';

export async function runInteractive(session: Session, useReadline: boolean): Promise<number> {
  greet(session);
  const terminal = new TerminalLines(session, useReadline);
  session.isInteractive = true;
  try {
    return await new MainLoop(session, terminal, session.stdin).run(true);
  } finally {
    terminal.save();
  }
}

function greet(session: Session): void {
  if (session.settings.quiet) return;
  const server = session.wire?.parameters.get('server_version') ?? '';
  const number = server.split(' ')[0];
  const versions = number === PSQL_VERSION ? PSQL_VERSION : `${PSQL_VERSION}, server ${server}`;
  session.say(`aurora psql (${versions})\n`);
  const stream = session.client?.connection.stream as { encrypted?: boolean; getProtocol?: () => string; getCipher?: () => { name: string } }; // prettier-ignore
  if (stream?.encrypted)
    session.say(
      `SSL connection (protocol: ${stream.getProtocol?.()}, cipher: ${stream.getCipher?.().name})\n`,
    );
  session.say('Type "help" for help.\n\n');
}

class TerminalLines implements Lines {
  /** Lines that came in one piece (pasted) and are not taken yet. */
  private readonly pending: string[] = [];
  /** What was typed after them. */
  private unfinished = '';
  private readonly added: string[] = [];

  constructor(
    private readonly session: Session,
    private readonly useReadline: boolean,
  ) {
    this.load();
  }

  async next(loop: MainLoop): Promise<string | null | 'interrupt'> {
    const waiting = this.pending.shift();
    if (waiting !== undefined) return waiting;
    printNotifications(this.session);
    const prompt = renderPrompt(this.session, loop.prompt, loop.conditions);
    const line = await this.read(prompt, loop);
    if (line === null || line === 'interrupt') return line;
    // An entry recalled from history may be many lines.
    const [first, ...others] = line.split('\n');
    this.pending.unshift(...others);
    return first!;
  }

  remember(lines: string[]): void {
    const { session } = this;
    const entry = lines.join('\n');
    const control = session.settings.histControl;
    if (entry.trim() === '') return;
    if ((control === 'ignorespace' || control === 'ignoreboth') && entry.startsWith(' ')) return;
    if ((control === 'ignoredups' || control === 'ignoreboth') && session.history.at(-1) === entry) return;
    session.history.push(entry);
    this.added.push(entry);
  }

  private read(prompt: string, loop: MainLoop): Promise<string | null | 'interrupt'> {
    const { session, useReadline } = this;
    const { stdin, stdout } = session.io;
    const coloured = useReadline ? this.coloured(loop) : null;
    const reader = createInterface({
      input: stdin,
      output: coloured ?? stdout,
      terminal: useReadline,
      history: useReadline ? [...session.history].reverse() : [],
      historySize: useReadline ? Math.max(session.settings.histSize, session.history.length) : 0,
      ...(useReadline ? { completer: this.completer(loop) } : {}),
    });
    coloured?.attach(reader);
    const afterKey = (): void => coloured?.afterKey();
    stdin.on('keypress', afterKey);
    reader.setPrompt(prompt);
    reader.prompt();
    if (this.unfinished !== '') reader.write(this.unfinished);
    this.unfinished = '';
    return new Promise((resolve) => {
      let settled = false;
      const settle = (value: string | null | 'interrupt'): void => {
        if (settled) return;
        settled = true;
        coloured?.attach(null);
        // What else is in this chunk of input arrives before the next turn of the event loop.
        setImmediate(() => {
          this.unfinished = value === 'interrupt' ? '' : (reader as Interface & { line: string }).line;
          reader.close();
          stdin.off('keypress', afterKey);
          resolve(value);
        });
      };
      reader.on('line', (line) => {
        if (settled) this.pending.push(line);
        else settle(line);
      });
      reader.on('SIGINT', () => settle('interrupt'));
      reader.on('close', () => settle(null));
    });
  }

  /** Null where colours are not wanted: NO_COLOR, or a terminal that has none. */
  private coloured(loop: MainLoop): ColouredOutput | null {
    const { env, stdout } = this.session.io;
    if (env['NO_COLOR'] || env['TERM'] === 'dumb') return null;
    return new ColouredOutput(stdout, (line) => highlight(line, loop.prompt));
  }

  private completer(loop: MainLoop) {
    return (line: string, done: (err: null, result: [string[], string]) => void): void => {
      complete(this.session, loop.query.text, line).then(
        (result) => done(null, result),
        () => done(null, [[], line]), // a completion that fails completes nothing
      );
    };
  }

  private get file(): string | null {
    const { variables, io } = this.session;
    const name =
      variables.get('HISTFILE') ??
      io.env['PSQL_HISTORY'] ??
      `${io.env['HOME'] ?? os.homedir()}/.psql_history`;
    return name === '/dev/null' || name === '' ? null : expandTilde(name, io.env);
  }

  private load(): void {
    const { file, session } = this;
    if (!this.useReadline || file === null || !fs.existsSync(file)) return;
    const entries = fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && line !== '_HiStOrY_V2_');
    session.history = entries
      .slice(-session.settings.histSize)
      .map((line) => line.replaceAll(NEWLINE_MARK, '\n'));
  }

  /** Adds what was entered here; entries of other sessions that ended meanwhile stay. */
  save(): void {
    const { file, session } = this;
    if (!this.useReadline || file === null || this.added.length === 0) return;
    try {
      const text = this.added.map((entry) => `${entry.replaceAll('\n', NEWLINE_MARK)}\n`).join('');
      fs.appendFileSync(file, text, { mode: 0o600 });
      const lines = fs.readFileSync(file, 'utf8').split('\n');
      if (lines.length > session.settings.histSize * 2)
        fs.writeFileSync(file, lines.slice(-session.settings.histSize - 1).join('\n'), { mode: 0o600 });
    } catch (err) {
      session.error(`could not save history to file "${file}": ${(err as Error).message}`);
    }
  }
}
