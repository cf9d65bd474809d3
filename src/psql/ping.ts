/** Whether a server takes connections (PQping of libpq): one start-up packet, and what it is answered with. */
import net from 'node:net';

/** Exit statuses of pg_isready. */
export const PING = { accepting: 0, rejecting: 1, noResponse: 2, noAttempt: 3 } as const;
export type PingResult = (typeof PING)[keyof typeof PING];

export const PING_WORDS: Readonly<Record<PingResult, string>> = {
  0: 'accepting connections',
  1: 'rejecting connections',
  2: 'no response',
  3: 'no attempt',
};

/** ERRCODE_CANNOT_CONNECT_NOW: starting up, shutting down. */
const CANNOT_CONNECT_NOW = '57P03';
const PROTOCOL_3 = 196608;
const ANSWER_BYTES_MAX = 64 * 1024;

/** `timeoutMs` 0: wait for as long as it takes. An answer of any kind means that somebody is there; only 57P03 is a rejection. */
export async function ping(
  target: { host: string; port: number; user: string; database: string },
  timeoutMs: number,
): Promise<PingResult> {
  const { host, port } = target;
  const socket = net.connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port });
  return new Promise<PingResult>((resolve) => {
    let answer = Buffer.alloc(0);
    socket.on('error', () => resolve(PING.noResponse));
    socket.on('close', () => resolve(PING.noResponse));
    if (timeoutMs > 0) socket.setTimeout(timeoutMs, () => resolve(PING.noResponse));
    socket.on('connect', () => socket.write(startupPacket(target)));
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      const result = judge(answer);
      if (result !== null) resolve(result);
    });
  }).finally(() => socket.destroy());
}

function startupPacket({ user, database }: { user: string; database: string }): Buffer {
  const parameters = Buffer.from(`user\0${user}\0database\0${database}\0\0`, 'utf8');
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + parameters.length, 0);
  head.writeUInt32BE(PROTOCOL_3, 4);
  return Buffer.concat([head, parameters]);
}

/** Null: more bytes are needed. */
function judge(answer: Buffer): PingResult | null {
  if (answer.length < 5) return null;
  const type = String.fromCharCode(answer[0]!);
  if (type === 'R') return PING.accepting;
  const length = answer.readUInt32BE(1);
  if (type !== 'E' || length > ANSWER_BYTES_MAX) return PING.noResponse;
  if (answer.length < 1 + length) return null;
  const fields = answer.toString('latin1', 5, 1 + length).split('\0');
  const state = fields.find((field) => field.startsWith('C'))?.slice(1);
  if (state === CANNOT_CONNECT_NOW) return PING.rejecting;
  return state?.length === 5 ? PING.accepting : PING.noResponse;
}
