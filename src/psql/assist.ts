/** help, quit and exit typed at the prompt as words, for people used to other clients. */
import type { PromptKind } from './scan/sql-scanner.js';
import type { Session } from './session.js';

const HELP = `You are using psql, the command-line interface to PostgreSQL.
Type:  \\h for help with SQL commands
       \\? for help with psql commands
       \\g or terminate with semicolon to execute query
       \\q to quit
`;

export function assist(
  session: Session,
  line: string,
  query: string,
  prompt: PromptKind,
): 'quit' | 'handled' | 'go on' {
  const inText = !['ready', 'continue', 'paren'].includes(prompt);
  const word = /^(help|exit|quit)\s*;?\s*$/i.exec(line)?.[1]?.toLowerCase();
  if (word === 'help') {
    session.say(query === '' ? HELP : 'Use \\? for help or press control-C to clear the input buffer.\n');
    return query === '' ? 'handled' : 'go on';
  }
  if (word !== undefined) {
    if (query === '') return 'quit';
    session.say(inText ? 'Use control-D to quit.\n' : 'Use \\q to quit.\n');
  } else if (line.startsWith('\\q') && query !== '' && inText) session.say('Use control-D to quit.\n');
  return 'go on';
}
