/** ~/.pgpass: a password for each place and user, as libpq looks it up. */
import fs from 'node:fs';
import os from 'node:os';

/** The password of the first line that fits "host:port:database:user"; null when there is none. `warn` hears of a file that is open to others. */
export function passwordFromFile(
  place: { host: string; port: number; database: string; user: string },
  file: string | undefined,
  env: NodeJS.ProcessEnv,
  warn: (message: string) => void,
): string | null {
  const name = file ?? `${env['HOME'] ?? os.homedir()}/.pgpass`;
  let text: string;
  try {
    const stat = fs.statSync(name);
    if (!stat.isFile()) {
      warn(`WARNING: password file "${name}" is not a plain file`);
      return null;
    }
    if ((stat.mode & 0o077) !== 0) {
      warn(
        `WARNING: password file "${name}" has group or world access; permissions should be u=rw (0600) or less`,
      );
      return null;
    }
    text = fs.readFileSync(name, 'utf8');
  } catch {
    return null; // no such file, or none that we may read: no password
  }
  // A socket folder goes by its path. libpq knows the usual one as localhost; no folder is the usual one here, so any does.
  const hosts = place.host.startsWith('/') ? [place.host, 'localhost'] : [place.host];
  const wanted = [hosts, [String(place.port)], [place.database], [place.user]];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = fieldsOf(line);
    if (fields.length < 5) continue;
    if (wanted.every((values, i) => fields[i] === '*' || values.includes(unescape(fields[i]!))))
      return unescape(fields[4]!);
  }
  return null;
}

/** Split at colons that no backslash stands before; the fifth field is the rest. */
function fieldsOf(line: string): string[] {
  const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(:|\\?$)/g)].map((match) => match[1]!);
  return [...fields.slice(0, 4), ...(fields.length > 4 ? [fields[4]!] : [])];
}

const unescape = (text: string): string => text.replace(/\\(.)/g, '$1');
