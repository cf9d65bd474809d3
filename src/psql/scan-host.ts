import pg from 'pg';
import type { ConditionalStack } from './conditional.js';
import { captureShell } from './io.js';
import type { QuoteStyle, ScanHost } from './scan/input.js';
import type { Session } from './session.js';

/** What the scanners see of a session: variables (none in an inactive \if branch), backquotes, complaints. */
export function scanHost(session: Session, conditions: ConditionalStack): ScanHost {
  return {
    variable(name, quote) {
      if (!conditions.isActive) return undefined;
      const value = session.variables.get(name);
      return value === undefined ? undefined : quoted(session, value, quote);
    },
    hasVariable: (name) => session.variables.has(name),
    backtick(command) {
      const { output, status } = captureShell(command, session.io);
      session.setShellResult(status);
      return output.toString().replace(/\r?\n$/, '');
    },
    warn: (message) => session.warning(message),
    error: (message) => session.error(message),
  };
}

function quoted(session: Session, value: string, quote: QuoteStyle): string | undefined {
  switch (quote) {
    case 'plain':
      return value;
    case 'shell':
      if (!/[\r\n]/.test(value)) return shellQuote(value);
      session.error(`shell command argument contains a newline or carriage return: "${value}"`);
      return undefined;
    default:
      if (session.wire) return quote === 'literal' ? pg.escapeLiteral(value) : pg.escapeIdentifier(value);
      session.error('cannot escape without active connection');
      return undefined;
  }
}

/** One word for the shell, quoted only when need be. */
function shellQuote(value: string): string {
  if (value !== '' && /^[A-Za-z0-9\-_./:]+$/.test(value)) return value;
  return `'${value.replaceAll("'", `'"'"'`)}'`;
}
