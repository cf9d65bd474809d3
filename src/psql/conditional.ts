/** The \if stack. */

/** true/false: the branch being read is (not) executed; ignored: the whole \if is, or a branch was already taken. */
export type IfState = 'true' | 'false' | 'ignored' | 'else-true' | 'else-false';

interface Level {
  state: IfState;
  /** Query text and parenthesis depth at the branch's start, to return to when the branch is not taken. */
  queryLength: number;
  parenDepth: number;
}

export class ConditionalStack {
  private readonly levels: Level[] = [];

  get isActive(): boolean {
    const { top } = this;
    return top === null || top.state === 'true' || top.state === 'else-true';
  }

  get isEmpty(): boolean {
    return this.levels.length === 0;
  }

  get top(): Level | null {
    return this.levels[this.levels.length - 1] ?? null;
  }

  push(state: IfState): void {
    this.levels.push({ state, queryLength: 0, parenDepth: 0 });
  }

  pop(): void {
    this.levels.pop();
  }
}
