/** psql's variables: plain ones, and special ones whose values are checked and take effect as they are set. */
import { parseBoolean, parseInteger, type Settings } from './settings.js';

/** What makes a variable special. */
interface Hook {
  /** Value to use instead of the given one; null means unset. */
  substitute(value: string | null): string | null;
  /** Takes effect; an error text when the value is refused. */
  assign(value: string | null): string | null;
}

const NAME = /^[A-Za-z\u0080-\uffff_0-9]+$/;

export class Variables {
  private readonly values = new Map<string, string>();
  private readonly hooks = new Map<string, Hook>();

  constructor(
    private readonly settings: Settings,
    private readonly complain: (message: string) => void,
  ) {
    this.registerHooks();
  }

  get(name: string): string | undefined {
    return this.values.get(name);
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  isSpecial(name: string): boolean {
    return this.hooks.has(name);
  }

  /** Sets or (null) unsets. False, with a complaint, when the name or the value is not valid. */
  set(name: string, value: string | null): boolean {
    if (!NAME.test(name)) {
      if (value === null) return true;
      this.complain(`invalid variable name: "${name}"`);
      return false;
    }
    const hook = this.hooks.get(name);
    const actual = hook ? hook.substitute(value) : value;
    const problem = hook ? hook.assign(actual) : null;
    if (problem !== null) {
      this.complain(problem);
      return false;
    }
    if (actual === null) this.values.delete(name);
    else this.values.set(name, actual);
    return true;
  }

  /** Sorted by name, byte by byte. */
  list(): [string, string][] {
    return [...this.values].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }

  private registerHooks(): void {
    const { settings } = this;
    const bool = (name: string, apply: (on: boolean) => void): void =>
      this.hook(name, booleanDefault, (value) => {
        const on = parseBoolean(value ?? '');
        if (on === null) return `unrecognized value "${value}" for "${name}": Boolean expected`;
        apply(on);
        return null;
      });
    bool('AUTOCOMMIT', (on) => (settings.autocommit = on));
    bool('ON_ERROR_STOP', (on) => (settings.onErrorStop = on));
    bool('QUIET', (on) => (settings.quiet = on));
    bool('SINGLELINE', (on) => (settings.singleLine = on));
    bool('SINGLESTEP', (on) => (settings.singleStep = on));
    bool('SHOW_ALL_RESULTS', (on) => (settings.showAllResults = on));
    bool('HIDE_TOAST_COMPRESSION', (on) => (settings.hideCompression = on));
    bool('HIDE_TABLEAM', (on) => (settings.hideTableAm = on));

    const integer = (name: string, unset: string, apply: (n: number) => void): void =>
      this.hook(
        name,
        (value) => value ?? unset,
        (value) => {
          const n = parseInteger(value ?? '');
          if (n === null) return `invalid value "${value}" for "${name}": integer expected`;
          apply(n);
          return null;
        },
      );
    integer('FETCH_COUNT', '0', (n) => (settings.fetchCount = n));
    integer('HISTSIZE', '500', (n) => (settings.histSize = n));
    this.hook(
      'IGNOREEOF',
      (value) => (value === null ? '0' : parseInteger(value) === null ? '10' : value),
      (value) => {
        settings.ignoreEof = parseInteger(value ?? '0') ?? 0;
        return null;
      },
    );
    this.hook(
      'WATCH_INTERVAL',
      (value) => value ?? '2',
      (value) => {
        const seconds = Number(value);
        if (value === null || value.trim() === '' || Number.isNaN(seconds))
          return `invalid value "${value}" for variable "WATCH_INTERVAL"`;
        if (seconds < 0)
          return `invalid value "${value}" for variable "WATCH_INTERVAL": must be greater than 0.00`;
        if (seconds > 1_000_000)
          return `invalid value "${value}" for variable "WATCH_INTERVAL": must be less than 1000000.00`;
        settings.watchIntervalSeconds = seconds;
        return null;
      },
    );

    this.choice('ECHO', 'none', ['none', 'errors', 'queries', 'all'], (v) => (settings.echo = v));
    this.choice(
      'VERBOSITY',
      'default',
      ['default', 'verbose', 'terse', 'sqlstate'],
      (v) => (settings.verbosity = v),
    );
    this.choice('SHOW_CONTEXT', 'errors', ['never', 'errors', 'always'], (v) => (settings.showContext = v));
    this.choice('COMP_KEYWORD_CASE', 'preserve-upper', ['lower', 'upper', 'preserve-lower', 'preserve-upper'], (v) => (settings.keywordCase = v)); // prettier-ignore
    this.choice('HISTCONTROL', 'none', ['none', 'ignorespace', 'ignoredups', 'ignoreboth'], (v) => (settings.histControl = v)); // prettier-ignore
    this.switchOr('ECHO_HIDDEN', 'noexec', (v) => (settings.echoHidden = v));
    this.switchOr('ON_ERROR_ROLLBACK', 'interactive', (v) => (settings.onErrorRollback = v));
    for (const name of ['PROMPT1', 'PROMPT2', 'PROMPT3', 'HISTFILE'])
      this.hook(
        name,
        (value) => value,
        () => null,
      );
  }

  private hook(name: string, substitute: Hook['substitute'], assign: Hook['assign']): void {
    this.hooks.set(name, { substitute, assign });
    const initial = substitute(null); // a special variable always has a value
    if (initial !== null) {
      assign(initial);
      this.values.set(name, initial);
    }
  }

  private choice<T extends string>(name: string, unset: T, choices: T[], apply: (value: T) => void): void {
    this.hook(
      name,
      (value) => value ?? unset,
      (value) => {
        const chosen = choices.find((choice) => choice === value?.toLowerCase());
        if (chosen === undefined) return enumComplaint(name, value ?? '', choices);
        apply(chosen);
        return null;
      },
    );
  }

  /** on, off, or a third way. */
  private switchOr<T extends string>(name: string, third: T, apply: (value: T | 'on' | 'off') => void): void {
    this.hook(name, booleanDefault, (value) => {
      const on = parseBoolean(value ?? '');
      if (value?.toLowerCase() === third) apply(third);
      else if (on !== null) apply(on ? 'on' : 'off');
      else return enumComplaint(name, value ?? '', ['on', 'off', third]);
      return null;
    });
  }
}

/** "\set NAME" means on, "\unset NAME" off. */
function booleanDefault(value: string | null): string | null {
  return value === null ? 'off' : value === '' ? 'on' : value;
}

export function enumComplaint(name: string, value: string, choices: string[]): string {
  return `unrecognized value "${value}" for "${name}"\nAvailable values are: ${choices.join(', ')}.`;
}
