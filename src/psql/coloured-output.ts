import type { Interface } from 'node:readline';
import { Writable } from 'node:stream';

interface Screen extends Writable {
  columns?: number;
  rows?: number;
}

/** Stands between readline and the terminal, and colours the line being edited wherever readline draws all of it. */
export class ColouredOutput extends Writable {
  private reader: Interface | null = null;
  private drawn = '';

  constructor(
    private readonly screen: Screen,
    private readonly colour: (line: string) => string,
  ) {
    super({ decodeStrings: false });
  }

  get columns(): number | undefined {
    return this.screen.columns;
  }

  get rows(): number | undefined {
    return this.screen.rows;
  }

  /** From here on it colours what `reader` edits; null: nothing more is drawn again. */
  attach(reader: Interface | null): void {
    this.reader = reader;
  }

  /** After a key: readline draws only what is new, so the line is drawn once more where it has changed. */
  afterKey(): void {
    const { reader } = this;
    if (reader && reader.line !== '' && reader.line !== this.drawn) reader.prompt(true);
  }

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    let text = chunk.toString();
    const { reader } = this;
    if (reader && reader.line !== '' && text === reader.getPrompt() + reader.line) {
      this.drawn = reader.line;
      text = reader.getPrompt() + this.colour(reader.line);
    }
    this.screen.write(text);
    done();
  }
}
