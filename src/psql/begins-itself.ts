/** Commands that end a transaction, start one, or cannot run in one: AUTOCOMMIT off sends no BEGIN before them. */

const SPACE = /^(?:\s+|--[^\n]*(?:\n|$))/;

/** The leading words of a command, in lower case, without the comments between them. */
function* leadingWords(query: string): Generator<string> {
  let rest = query;
  for (;;) {
    rest = withoutSpace(rest);
    const word = /^[A-Za-z]+/.exec(rest)?.[0];
    if (word === undefined) return;
    yield word.toLowerCase();
    rest = rest.slice(word.length);
  }
}

function withoutSpace(text: string): string {
  let rest = text;
  for (;;) {
    const space = SPACE.exec(rest)?.[0] ?? '';
    if (space !== '') rest = rest.slice(space.length);
    else if (rest.startsWith('/*')) rest = rest.slice(commentLength(rest));
    else return rest;
  }
}

function commentLength(text: string): number {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const pair = text.slice(at, at + 2);
    if (pair === '/*') depth++;
    else if (pair === '*/') depth--;
    else continue;
    at++;
    if (depth === 0) return at + 1;
  }
  return text.length;
}

export function beginsItself(query: string): boolean {
  const [first = '', ...words] = leadingWords(query);
  const [second = '', third = '', fourth = ''] = words;
  switch (first) {
    case 'abort':
    case 'begin':
    case 'start':
    case 'commit':
    case 'end':
    case 'rollback':
    case 'vacuum':
      return true;
    case 'prepare':
      return second === 'transaction';
    case 'cluster':
      return second === '';
    case 'alter':
      return second === 'system';
    case 'discard':
      return second === 'all';
    case 'create': {
      if (second === 'database' || second === 'tablespace') return true;
      const isUnique = second === 'unique';
      return (isUnique ? third : second) === 'index' && (isUnique ? fourth : third) === 'concurrently';
    }
    case 'drop':
    case 'reindex':
      if (second === 'database' || second === 'system' || second === 'tablespace') return true;
      return (second === 'index' || second === 'table') && third === 'concurrently';
    default:
      return false;
  }
}
