/** Prompts: PROMPT1, PROMPT2, PROMPT3 with their %-sequences. */
import type { ConditionalStack } from './conditional.js';
import { captureShell } from './io.js';
import { displayWidth } from './print/width.js';
import type { PromptKind } from './scan/sql-scanner.js';
import type { Session } from './session.js';

const CONTINUES: Record<PromptKind, string> = {
  ready: '=',
  continue: '-',
  'single-quote': "'",
  'double-quote': '"',
  'dollar-quote': '$',
  comment: '*',
  paren: '(',
  copy: '',
};

/** Whether the server takes writes. */
function endpointRole({ wire }: Session): 'primary' | 'replica' | null {
  if (!wire) return null;
  return wire.parameters.get('in_hot_standby') === 'on' ? 'replica' : 'primary';
}

/** Marks around characters that take no room, as %[ and %] set them. */
const HIDDEN_START = '\ue000';
const HIDDEN_END = '\ue001';

export function renderPrompt(session: Session, kind: PromptKind, conditions?: ConditionalStack): string {
  const name = kind === 'ready' ? 'PROMPT1' : kind === 'copy' ? 'PROMPT3' : 'PROMPT2';
  const template = session.variables.get(name) ?? '';
  const sequence = /%(?:`([^`]*)`?|:([^:]*):?|([0-7]{1,3})|(.))|([^%]+)/gs;
  let text = '';
  for (const [, command, variable, octal, letter, plain] of template.matchAll(sequence)) {
    if (plain !== undefined) text += plain;
    else if (command !== undefined) text += firstLine(captureShell(command, session.io).output.toString());
    else if (variable !== undefined) text += session.variables.get(variable) ?? '';
    else if (octal !== undefined) text += String.fromCharCode(parseInt(octal, 8));
    else text += escape(session, letter!, kind, conditions);
  }
  if (kind === 'ready') {
    const visible = text.replace(/\ue000[^\ue001]*\ue001?/g, '');
    session.promptWidth = displayWidth(visible.slice(visible.lastIndexOf('\n') + 1));
  }
  return text.replaceAll(HIDDEN_START, '').replaceAll(HIDDEN_END, '');
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0]!;
}

function escape(
  session: Session,
  letter: string,
  kind: PromptKind,
  conditions: ConditionalStack | undefined,
): string {
  const { wire, target } = session;
  switch (letter) {
    case '/':
      return wire ? target!.database : '';
    case '~':
      if (!wire) return '';
      return target!.database === target!.user || target!.database === session.io.env['PGDATABASE']
        ? '~'
        : target!.database;
    case 'w':
      return ' '.repeat(session.promptWidth);
    case 'M':
    case 'm': {
      if (!wire) return '';
      const { host } = target!;
      if (host.startsWith('/')) return letter === 'm' ? '[local]' : `[local:${host}]`;
      return letter === 'm' ? host.split('.')[0]! : host;
    }
    case '>':
      return wire ? String(target!.port) : '';
    case 'n':
      return wire ? (wire.parameters.get('session_authorization') ?? target!.user) : '';
    case 's':
      return session.variables.get('SERVICE') ?? '';
    case 'p':
      return wire ? String(wire.processId) : '';
    case 'P':
      return wire ? 'off' : '';
    case 'R':
      if (kind !== 'ready') return CONTINUES[kind];
      if (conditions && !conditions.isActive) return '@';
      if (!wire) return '!';
      return session.settings.singleLine ? '^' : '=';
    case 'x':
      if (!wire) return '?';
      return wire.status === 'T' ? '*' : wire.status === 'E' ? '!' : '';
    case 'i':
      return endpointRole(session) ?? '';
    case 'I': {
      // Said where it matters: at an endpoint of the cluster that we know, and at any standby.
      const role = endpointRole(session);
      return role !== null && (role === 'replica' || session.isClusterEndpoint) ? `@${role}` : '';
    }
    case 'l':
      return String(session.statementLine);
    case '#':
      return wire?.parameters.get('is_superuser') === 'on' ? '#' : '>';
    case '[':
      return HIDDEN_START;
    case ']':
      return HIDDEN_END;
    default:
      return letter;
  }
}
