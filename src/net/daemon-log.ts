import pino, { type DestinationStream, type Logger } from 'pino';

/**
 * A daemon's log: one JSON object a line, with `time` (ISO 8601), `level` (its name), `component`, `pid`, `msg`, and `code` when it tells of
 * an error (those of errors.ts are stable). Secrets never get here; what could be one by its name is struck out all the same.
 */
export function daemonLog(
  component: string,
  level: string,
  base: Record<string, unknown>,
  destination?: DestinationStream,
): Logger {
  const options: pino.LoggerOptions = {
    level,
    base: { component, ...base, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }), log: withCode },
    redact: { paths: SECRETS, censor: '[secret]' },
  };
  return destination ? pino(options, destination) : pino(options);
}

const SECRETS = ['secret', 'password', 'key', 'token'].flatMap((name) => [name, `*.${name}`]);

function withCode(line: Record<string, unknown>): Record<string, unknown> {
  const { err, code } = line;
  if (code !== undefined || typeof err !== 'object' || err === null) return line;
  return 'code' in err && typeof err.code === 'string' ? { ...line, code: err.code } : line;
}
