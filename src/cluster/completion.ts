/** Shell completion for all commands and flags, written from the commands' own definitions. */

export interface CompletedFlag {
  readonly name: string;
  readonly char?: string | undefined;
  readonly summary: string;
  readonly takesValue: boolean;
  readonly options: readonly string[];
  readonly allowNo: boolean;
}

export interface CompletedCommand {
  /** `inspect wal`. */
  readonly words: string;
  readonly summary: string;
  readonly flags: readonly CompletedFlag[];
}

/** What may come after `at` ('' at first): the next words of commands, each with what it is about. */
interface Choice {
  readonly at: string;
  readonly words: readonly (readonly [word: string, summary: string])[];
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export function completionScript(shell: Shell, commands: readonly CompletedCommand[]): string {
  return { bash, zsh, fish }[shell](commands);
}

function choices(commands: readonly CompletedCommand[]): Choice[] {
  const found = new Map<string, Map<string, string>>();
  for (const { words, summary } of commands) {
    const parts = words.split(' ');
    parts.forEach((word, i) => {
      const at = parts.slice(0, i).join(' ');
      const known = found.get(at) ?? new Map<string, string>();
      found.set(at, known);
      if (i === parts.length - 1 || !known.has(word))
        known.set(word, i === parts.length - 1 ? summary : `${word} commands`);
    });
  }
  return [...found].map(([at, words]) => ({ at, words: [...words].sort(([a], [b]) => (a < b ? -1 : 1)) }));
}

/** Every beginning of a command that is a word on the way to one, or one itself. */
function stations(commands: readonly CompletedCommand[]): string[] {
  return choices(commands).flatMap(({ at, words }) =>
    words.map(([word]) => (at === '' ? word : `${at} ${word}`)),
  );
}

function spellings({ name, char, allowNo }: CompletedFlag): string[] {
  return [`--${name}`, ...(allowNo ? [`--no-${name}`] : []), ...(char ? [`-${char}`] : [])];
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Where nothing fits, readline's own completion of file names does. */
function bash(commands: readonly CompletedCommand[]): string {
  const values = commands.flatMap(({ words, flags }) =>
    flags
      .filter(({ takesValue }) => takesValue)
      .map((flag) => {
        const patterns = spellings(flag).map((text) => quote(`${words}|${text}`));
        const reply = flag.options.length > 0 ? `_aurora_reply ${quote(flag.options.join(' '))}; ` : '';
        return `    ${patterns.join(' | ')}) ${reply}return ;;`;
      }),
  );
  return `# bash completion for aurora: aurora completion bash
_aurora_reply() { COMPREPLY=($(compgen -W "$1" -- "\${COMP_WORDS[COMP_CWORD]}")); }
_aurora() {
  local cmd='' i prev="\${COMP_WORDS[COMP_CWORD - 1]}"
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${cmd:+$cmd }\${COMP_WORDS[i]}" in
      ${stations(commands).map(quote).join(' | ')}) cmd="\${cmd:+$cmd }\${COMP_WORDS[i]}" ;;
      *) break ;;
    esac
  done
  case "$cmd|$prev" in
${values.join('\n')}
  esac
  if [[ "\${COMP_WORDS[COMP_CWORD]}" == -* ]]; then
    case "$cmd" in
${commands.map(({ words, flags }) => `      ${quote(words)}) _aurora_reply ${quote([...flags.flatMap(spellings), '--help'].join(' '))} ;;`).join('\n')}
      *) _aurora_reply '--help --version' ;;
    esac
  else
    case "$cmd" in
${choices(commands)
  .map(
    ({ at, words }) => `      ${quote(at)}) _aurora_reply ${quote(words.map(([word]) => word).join(' '))} ;;`,
  )
  .join('\n')}
    esac
  fi
}
complete -o default -F _aurora aurora
`;
}

function zsh(commands: readonly CompletedCommand[]): string {
  const item = (word: string, summary: string): string => quote(`${word.replaceAll(':', '\\:')}:${summary}`);
  const values = commands.flatMap(({ words, flags }) =>
    flags
      .filter(({ takesValue }) => takesValue)
      .map((flag) => {
        const patterns = spellings(flag).map((text) => quote(`${words}|${text}`));
        const reply = flag.options.length > 0 ? `compadd -- ${flag.options.map(quote).join(' ')}` : '_files';
        return `    ${patterns.join(' | ')}) ${reply}; return ;;`;
      }),
  );
  const flagItems = ({ flags }: CompletedCommand): string =>
    [...flags.flatMap((flag) => spellings(flag).map((text) => item(text, flag.summary))), item('--help', 'show help')].join(' '); // prettier-ignore
  return `#compdef aurora
# zsh completion for aurora: aurora completion zsh
_aurora() {
  local cmd='' i
  local -a items
  for ((i = 2; i < CURRENT; i++)); do
    case "\${cmd:+$cmd }$words[i]" in
      ${stations(commands).map(quote).join(' | ')}) cmd="\${cmd:+$cmd }$words[i]" ;;
      *) break ;;
    esac
  done
  case "$cmd|$words[CURRENT - 1]" in
${values.join('\n')}
  esac
  if [[ "$words[CURRENT]" == -* ]]; then
    case "$cmd" in
${commands.map((command) => `      ${quote(command.words)}) items=(${flagItems(command)}) ;;`).join('\n')}
      *) items=('--help:show help' '--version:show the version') ;;
    esac
    _describe -o option items
  else
    case "$cmd" in
${choices(commands)
  .map(
    ({ at, words }) =>
      `      ${quote(at)}) items=(${words.map(([word, summary]) => item(word, summary)).join(' ')}) ;;`,
  )
  .join('\n')}
    esac
    if (( $#items )); then _describe command items; else _files; fi
  fi
}
if [[ "$funcstack[1]" == _aurora ]]; then _aurora "$@"; else compdef _aurora aurora; fi
`;
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines: string[] = [];
  for (const { at, words } of choices(commands))
    for (const [word, summary] of words)
      lines.push(
        `complete -c aurora -f -n ${quote(`__aurora_at ${quoteFish(at)}`)} -a ${quote(word)} -d ${quoteFish(summary)}`,
      );
  for (const { words, flags } of commands)
    for (const flag of flags) {
      const value = !flag.takesValue
        ? ''
        : flag.options.length > 0
          ? ` -x -a ${quote(flag.options.join(' '))}`
          : ' -r';
      const short = flag.char ? ` -s ${flag.char}` : '';
      const condition = `-n ${quote(`__aurora_at ${quoteFish(words)}`)}`;
      lines.push(
        `complete -c aurora ${condition} -l ${flag.name}${short}${value} -d ${quoteFish(flag.summary)}`,
      );
      if (flag.allowNo)
        lines.push(
          `complete -c aurora ${condition} -l no-${flag.name} -d ${quoteFish(`not: ${flag.summary}`)}`,
        );
    }
  return `# fish completion for aurora: aurora completion fish
function __aurora_at
    set -l cmd
    for word in (commandline -opc)[2..-1]
        switch (string join ' ' -- $cmd $word)
            case ${stations(commands).map(quote).join(' ')}
                set cmd $cmd $word
            case '*'
                break
        end
    end
    test (string join ' ' -- $cmd) = "$argv"
end
${lines.join('\n')}
`;
}

/** In double quotes, so that it can stand inside single ones. */
function quoteFish(text: string): string {
  return `"${text.replace(/["\\$]/g, '\\$&').replaceAll("'", '’')}"`;
}
