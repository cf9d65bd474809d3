/** \?, \h and --help=TOPIC. */
import { COMMAND_HELP, OPTION_HELP, VARIABLE_HELP, type HelpSection } from './help-text.js';
import { showText } from './pager.js';
import type { Session } from './session.js';
import { SQL_COMMANDS } from './sql-commands.js';

const TOPICS: Record<string, HelpSection[]> = {
  commands: COMMAND_HELP,
  options: OPTION_HELP,
  variables: VARIABLE_HELP,
};

function render(sections: HelpSection[]): string {
  return sections
    .map(({ title, entries }) => {
      const width = Math.max(...entries.map(([name]) => name.length));
      const lines = entries.map(([name, text]) => `  ${name.padEnd(width)}  ${text}\n`);
      return `${title}\n${lines.join('')}`;
    })
    .join('\n');
}

export async function slashHelp(session: Session, topic: string | null): Promise<void> {
  const sections = (topic !== null && TOPICS[topic]) || COMMAND_HELP;
  await showText(render(sections), session.print, session.io);
}

/** \h: the SQL commands, or where those that begin so are documented. */
export async function sqlHelp(session: Session, topic: string | null): Promise<void> {
  if (topic === null || topic === '') {
    const width = Math.max(...SQL_COMMANDS.map((name) => name.length)) + 2;
    const columns = 3;
    const height = Math.ceil(SQL_COMMANDS.length / columns);
    const lines = Array.from({ length: height }, (_, i) =>
      Array.from({ length: columns }, (_unused, j) => (SQL_COMMANDS[j * height + i] ?? '').padEnd(width))
        .join('')
        .trimEnd(),
    );
    const text = `Available help:\n${lines.map((line) => `  ${line}\n`).join('')}`;
    await showText(text, session.print, session.io);
    return;
  }
  const found = matchCommands(topic);
  if (found.length === 0) {
    session.say(`No help available for "${topic}".\nTry \\h with no arguments to see available help.\n`);
    return;
  }
  const text = found.map((name) => `Command:     ${name}\nURL: ${documentationUrl(name)}\n\n`).join('');
  await showText(text, session.print, session.io);
}

/** Exactly that command, or all that begin with the words, or with the first of them. */
function matchCommands(topic: string): string[] {
  if (topic === '*') return SQL_COMMANDS;
  const words = topic.trim().toUpperCase().replace(/\s+/g, ' ');
  if (SQL_COMMANDS.includes(words)) return [words];
  const starting = SQL_COMMANDS.filter((name) => name.startsWith(words));
  return starting.length > 0 ? starting : SQL_COMMANDS.filter((name) => name === words.split(' ')[0]);
}

function documentationUrl(name: string): string {
  return `https://www.postgresql.org/docs/18/sql-${name.toLowerCase().replaceAll(' ', '')}.html`;
}
