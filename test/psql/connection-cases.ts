/**
 * How connections are described and what goes wrong: psql 15 and ours say the same. `{socket}` stands for the server's socket
 * folder, `{standby}` for that of a server in recovery (both listen on port 5432 there).
 */
import { opts, type Case } from './cases.js';

const WHO = "select current_user, current_database(), current_setting('application_name')";
const RECOVERY = 'select pg_is_in_recovery()';

const uri = (name: string, text: string, ...commands: string[]): Case =>
  opts(name, ['-At', '-d', text], ...(commands.length > 0 ? commands : [WHO]));
const away = (name: string, env: Record<string, string>, options: string[] = [], query = RECOVERY): Case => ({
  ...opts(name, ['-At', ...options], query),
  env,
});

export const CONNECTION_CASES: Case[] = [
  uri('URI with everything', 'postgresql://postgres@/template1?application_name=my%20app'),
  uri('URI, postgres://', 'postgres:///'),
  uri('URI with a host in its query', 'postgresql:///template1?host={socket}&port=5432'),
  uri('URI with an encoded host', 'postgresql://%2Fnonexistent/x'),
  uri('URI with a user that does not exist', 'postgresql://nobody@/postgres'),
  uri('URI with options', 'postgresql:///?options=-c%20work_mem%3D123kB', 'show work_mem'),
  uri('URI with a bad escape', 'postgresql:///a%zz'),
  uri('URI with a zero byte', 'postgresql:///a%00'),
  uri('URI with an unknown parameter', 'postgresql:///?nosuch=1'),
  uri('URI parameter without =', 'postgresql:///?host'),
  uri('URI parameter with two =', 'postgresql:///?host=a=b'),
  uri('URI with an open bracket', 'postgresql://[::1/x'),
  uri('URI with an empty address', 'postgresql://[]/x'),
  uri('URI with text after an address', 'postgresql://[::1]x/x'),
  uri('URI with a bad port', 'postgresql://127.0.0.1:x/x'),
  uri('URI with a port out of range', 'postgresql://127.0.0.1:99999/x'),
  uri('URI with several hosts', 'postgresql://127.0.0.1:1,127.0.0.1:2/postgres'),
  uri('URI with ssl=true', 'postgresql://127.0.0.1:1/x?ssl=true'),
  uri('string with quotes', "dbname='template1' application_name='it\\'s'"),
  uri('string with spaces', '  dbname =  template1   user = postgres '),
  uri('string with an open quote', "dbname='template1"),
  uri('string without =', 'dbname=template1 user'),
  uri('string with an unknown option', 'nosuch=1'),
  uri('string with an escape', 'dbname=temp\\late1'),
  uri('string with an empty value', 'dbname=  user=postgres'),
  uri('wrong sslmode', 'sslmode=perhaps'),
  uri('wrong target_session_attrs', 'target_session_attrs=best'),
  uri('more ports than hosts', 'host=/a,/b port=1,2,3'),
  uri('more addresses than hosts', 'host=a,b hostaddr=127.0.0.1'),
  uri('hostaddr', 'host=nosuch.invalid hostaddr=127.0.0.1 port=1'),
  opts('database named by -d and as operand', ['-At', '-d', 'template1', 'postgres'], WHO),
  opts('two hosts by -h', ['-At', '-h', '/nonexistent,{socket}', '-p', '5432'], WHO),
  opts('ports by -p', ['-At', '-h', '/nonexistent,{socket}', '-p', '1,5432'], WHO),
  opts('too many ports by -p', ['-At', '-h', '/nonexistent', '-p', '1,5432'], WHO),
  away('application name of the environment', { PGAPPNAME: 'mine' }, [], WHO),
  away('options of the environment', { PGOPTIONS: '-c geqo=off -c work_mem=64kB' }, [], 'show work_mem'),
  away('first host is not there', { PGHOST: '/nonexistent,{standby},{socket}' }),
  away('no host is there', { PGHOST: '/nonexistent,/nonexistent2' }),
  away('any server', { PGHOST: '{standby},{socket}' }),
  ...(['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const).flatMap((wish) => [
    away(`${wish}, primary first`, { PGHOST: '{socket},{standby}', PGTARGETSESSIONATTRS: wish }),
    away(`${wish}, standby first`, { PGHOST: '{standby},{socket}', PGTARGETSESSIONATTRS: wish }),
  ]),
  away('no primary', { PGHOST: '{standby},/nonexistent', PGTARGETSESSIONATTRS: 'primary' }),
  away('no standby', { PGHOST: '/nonexistent,{socket}', PGTARGETSESSIONATTRS: 'standby' }),
  away('nothing writable', { PGHOST: '{standby}', PGTARGETSESSIONATTRS: 'read-write' }),
  away('nothing read-only', { PGHOST: '{socket}', PGTARGETSESSIONATTRS: 'read-only' }),
  away('a session read-only by setting', {
    PGHOST: '{socket}',
    PGTARGETSESSIONATTRS: 'read-only',
    PGOPTIONS: '-c default_transaction_read_only=on',
  }),
  away('standby preferred, none there', {
    PGHOST: '/nonexistent,{socket}',
    PGTARGETSESSIONATTRS: 'prefer-standby',
  }),
  away('an answer of a server ends the search', { PGHOST: '{socket},{standby}', PGUSER: 'nobody' }),
  opts(
    'reconnect to another of several',
    ['-At'],
    '\\c "host={standby} dbname=template1"',
    RECOVERY,
    '\\c - - {socket}',
    RECOVERY,
    '\\c "target_session_attrs=standby"',
    '\\c template1 postgres {socket} 5432',
    '\\c x y z w v',
  ),
  opts(
    'reconnect without what was there',
    ['-At'],
    '\\c -reuse-previous=off "dbname=postgres"',
    '\\c -reuse-previous=x y',
    '\\c "dbname=template1" user',
    '\\c nosuch',
    'select 1',
  ),
];
