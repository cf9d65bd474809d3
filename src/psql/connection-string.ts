/** Connection URIs and "key=value" strings, read as libpq reads them. */
import { DbError } from '../engine/errors.js';

/** What may be said in a connection string, and the environment variable that says it otherwise. */
const ENVIRONMENT = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  dbname: 'PGDATABASE',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  fallback_application_name: '',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  load_balance_hosts: 'PGLOADBALANCEHOSTS',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslpassword: '',
} as const;

export type Keyword = keyof typeof ENVIRONMENT;
export type ConnectionParameters = Partial<Record<Keyword, string>>;

/** Options of libpq that ask for nothing that is not so here anyway, or tune what Node.js tunes itself. */
const HARMLESS = new Set([
  'channel_binding',
  'client_encoding',
  'gssencmode',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'sslcompression',
  'sslsni',
  'tcp_user_timeout',
]);

/** libpq's rule: a value with "=" or a URI scheme is a connection string, anything else a database name. */
export function isConnectionString(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text) || text.includes('=');
}

/** Throws USAGE_CONNECTION on a malformed string, in libpq's words. */
export function parseConnectionString(text: string): ConnectionParameters {
  const given: ConnectionParameters = {};
  if (/^postgres(ql)?:\/\//.test(text)) parseUri(text, given);
  else if (text.includes('=')) parsePairs(text, given);
  else given.dbname = text;
  return given;
}

export function parametersFromEnv(env: NodeJS.ProcessEnv): ConnectionParameters {
  const given: ConnectionParameters = {};
  for (const [keyword, variable] of Object.entries(ENVIRONMENT) as [Keyword, string][]) {
    const value = variable === '' ? undefined : env[variable];
    if (value) given[keyword] = value;
  }
  return given;
}

/** Those of them with a value that asks for protection which we cannot give. */
const UNMET = new Set(['channel_binding', 'gssencmode']);

function set(given: ConnectionParameters, keyword: string, value: string): void {
  if (Object.hasOwn(ENVIRONMENT, keyword)) given[keyword as Keyword] = value;
  else if (!HARMLESS.has(keyword)) throw refuse(`invalid connection option "${keyword}"`);
  else if (UNMET.has(keyword) && value === 'require')
    throw refuse(`${keyword} value "require" is not supported`);
}

function refuse(message: string): DbError {
  return new DbError('USAGE_CONNECTION', message);
}

function parsePairs(text: string, given: ConnectionParameters): void {
  const space = /\s*/y;
  const name = /[^=\s]*/y;
  const plain = /(?:\\[^]|[^\s\\])*\\?/y;
  const quoted = /'((?:\\[^]|[^'\\])*)'/y;
  let at = 0;
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const [token] = pattern.exec(text)!;
    at += token.length;
    return token;
  };
  for (take(space); at < text.length; take(space)) {
    const keyword = take(name);
    take(space);
    if (text[at] !== '=') throw refuse(`missing "=" after "${keyword}" in connection info string`);
    at++;
    take(space);
    let value: string;
    if (text[at] === "'") {
      quoted.lastIndex = at;
      const match = quoted.exec(text);
      if (!match) throw refuse('unterminated quoted string in connection info string');
      at += match[0].length;
      value = match[1]!;
    } else value = take(plain);
    set(given, keyword, value.replace(/\\([^]?)/g, '$1'));
  }
}

/** postgresql://[USER[:PASSWORD]@][HOST[:PORT],...][/DBNAME][?NAME=VALUE&...] */
function parseUri(uri: string, given: ConnectionParameters): void {
  const rest = uri.replace(/^postgres(ql)?:\/\//, '');
  const [, authority, path = '', query] = /^([^/?]*)(\/[^?]*)?(?:\?([^]*))?$/.exec(withEscapedSlashes(rest))!;
  const at = authority!.lastIndexOf('@');
  if (at >= 0) {
    const [user, ...password] = authority!.slice(0, at).split(':');
    if (user !== '') given.user = decode(user!);
    if (password.length > 0 && password.join(':') !== '') given.password = decode(password.join(':'));
  }
  const places = authority!.slice(at + 1);
  if (places !== '') parsePlaces(places, uri, given);
  if (path.length > 1) given.dbname = decode(path.slice(1));
  if (query !== undefined && query !== '') for (const pair of query.split('&')) parseQueryPair(pair, given);
}

/** A password may hold "/" and "?": up to the last "@" before the first of them that ends the host, they are data. */
function withEscapedSlashes(text: string): string {
  const end = text.search(/[/?]/);
  const at = text.indexOf('@');
  if (end < 0 || at < 0 || at < end || !text.slice(0, at).includes(':')) return text;
  return text.slice(0, at).replace(/[/?]/g, encodeURIComponent) + text.slice(at);
}

function parsePlaces(places: string, uri: string, given: ConnectionParameters): void {
  const hosts: string[] = [];
  const ports: string[] = [];
  const shown = uri.replace(/:[^:@/]*@/, ':***@');
  for (const place of places.split(',')) {
    let host: string;
    let after: string;
    if (place.startsWith('[')) {
      const end = place.indexOf(']');
      if (end < 0)
        throw refuse(`end of string reached when looking for matching "]" in IPv6 host address in URI: "${shown}"`); // prettier-ignore
      if (end === 1) throw refuse(`IPv6 host address may not be empty in URI: "${shown}"`);
      host = place.slice(1, end);
      after = place.slice(end + 1);
      if (after !== '' && !after.startsWith(':'))
        throw refuse(`unexpected character "${after[0]}" at position ${uri.indexOf(place) + end + 2} in URI (expected ":" or "/"): "${shown}"`); // prettier-ignore
    } else {
      const colon = place.indexOf(':');
      host = colon < 0 ? place : place.slice(0, colon);
      after = colon < 0 ? '' : place.slice(colon);
    }
    hosts.push(decode(host));
    ports.push(after.slice(1));
  }
  if (hosts.some((host) => host !== '')) given.host = hosts.join(',');
  if (ports.some((port) => port !== '')) given.port = ports.join(',');
}

function parseQueryPair(pair: string, given: ConnectionParameters): void {
  const [name, value, ...more] = pair.split('=');
  if (value === undefined) throw refuse(`missing key/value separator "=" in URI query parameter: "${name}"`);
  if (more.length > 0) throw refuse(`extra key/value separator "=" in URI query parameter: "${name}"`);
  let keyword = decode(name!);
  let text = decode(value);
  if (keyword === 'ssl' && text === 'true') [keyword, text] = ['sslmode', 'require']; // as JDBC writes it
  if (!Object.hasOwn(ENVIRONMENT, keyword) && !HARMLESS.has(keyword))
    throw refuse(`invalid URI query parameter: "${keyword}"`);
  set(given, keyword, text);
}

function decode(text: string): string {
  const wrong = /%(?![0-9A-Fa-f]{2})/.exec(text);
  if (wrong) throw refuse(`invalid percent-encoded token: "${text}"`);
  if (/%00/.test(text)) throw refuse(`forbidden value %00 in percent-encoded value: "${text}"`);
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse(`not UTF-8 when its percent-encoding is undone: "${text}"`);
  }
}
