/** Invocations that give the same output, errors and status in psql 15 and ours. `cwd` files are written by the test. */
import type { Invocation } from './harness.js';

export interface Case extends Invocation {
  name: string;
}

export const c = (name: string, ...commands: string[]): Case => ({
  name,
  args: ['-X', ...commands.flatMap((command) => ['-c', command])],
});
export const opts = (name: string, options: string[], ...commands: string[]): Case => ({
  name,
  args: ['-X', ...options, ...commands.flatMap((command) => ['-c', command])],
});
export const script = (name: string, stdin: string, ...options: string[]): Case => ({
  name,
  args: ['-X', ...options],
  stdin,
});

const statuses: Case[] = [
  c(
    'command tags',
    'create table t_tags (a int)',
    'insert into t_tags values (1), (2)',
    'update t_tags set a = 3',
    'delete from t_tags where a = 9',
    'drop table t_tags',
  ),
  c(
    'returning',
    'create table t_ret (a int)',
    'insert into t_ret values (1) returning a',
    'drop table t_ret',
  ),
  opts(
    'quiet',
    ['-q'],
    'create table t_q (a int)',
    'insert into t_q values (1) returning a',
    'drop table t_q',
  ),
  c('several results of one string', 'select 1; select 2; create table t_m (a int); drop table t_m'),
  c('error in the middle of a string', 'select 1; select 1/0; select 2'),
  opts('only the last result', ['-v', 'SHOW_ALL_RESULTS=off'], 'select 1; select 2'),
  c('empty query', ''),
  c('only a comment', '-- nothing'),
  c('error then more commands', 'select 1/0', 'select 2'),
  opts('ON_ERROR_STOP with -c', ['-v', 'ON_ERROR_STOP=1'], 'select 1/0', 'select 2'),
  script('script error', 'select 1/0;\nselect 2;\n'),
  script('script error with ON_ERROR_STOP', 'select 1;\nselect 1/0;\nselect 2;\n', '-v', 'ON_ERROR_STOP=1'),
  script('script named by -f -', 'select 1;\n\nselect 1/0;\n\\foo\nselect 2;\n', '-f', '-'),
  script('ON_ERROR_STOP with -f -', 'select 1;\nselect 1/0;\n', '-v', 'ON_ERROR_STOP=1', '-f', '-'),
  opts('no such file', ['-f', '/nonexistent/file.sql']),
  opts(
    'single transaction',
    ['-1'],
    'create table t_one (a int)',
    'select count(*) from t_one',
    'drop table t_one',
  ),
  opts(
    'single transaction with an error',
    ['-1', '-v', 'ON_ERROR_STOP=1'],
    'create table t_one (a int)',
    'select 1/0',
  ),
  opts(
    'single transaction that fails to commit',
    ['-1'],
    'create table t_one (a int)',
    'select 1/0',
    'select 1',
  ),
  script('-1 with a script', 'create table t_one (a int);\ndrop table t_one;\n', '-1'),
  script('echo all', '-- a comment\nselect 1;\nselect\n 2;\n\\echo hi\n', '-a'),
  script('echo queries', '-- a comment\nselect 1;\nselect\n 2;\n\\echo hi\n', '-e'),
  script('echo errors', 'select 1;\nselect 1/0;\n', '-b'),
  script('\\q ends a script', 'select 1;\n\\q\nselect 2;\n'),
  script('statement without a semicolon', 'select 1\n'),
  script('a script of a custom dump', 'PGDMP...\n'),
  script('byte order mark', '\ufeffselect 1;\n'),
  script('carriage returns', 'select 1;\r\nselect 2;\r\n'),
  script('last line without newline', "select 'x';"),
  c('server lost', 'select pg_terminate_backend(pg_backend_pid())', 'select 1'),
  script('server lost in a script', 'select pg_terminate_backend(pg_backend_pid());\nselect 1;\n'),
  script(
    'server lost with -f -',
    'select 1;\nselect pg_terminate_backend(pg_backend_pid());\nselect 1;\n',
    '-f',
    '-',
  ),
  script('single line mode', 'select 1\nselect 2\n', '-S'),
];

const errors: Case[] = [
  c('syntax error', 'selekt 1'),
  c(
    'position in a long line',
    `select 1234567890, 1234567890, 1234567890, 1234567890, nope, 1234567890, 1234567890, 1234567890, 1234567890`,
  ),
  c(
    'position near the end of a long line',
    `select 1234567890, 1234567890, 1234567890, 1234567890, 1234567890, 1234567890, 1234567890, nope`,
  ),
  c('position on a later line', `select 1,\n\t2,\n   nope\nfrom pg_class`),
  c('position after wide characters', `select '漢字漢字', nope`),
  c(
    'detail and hint',
    `create table t_u (a int primary key)`,
    `insert into t_u values (1), (1)`,
    `select nosuch(1)`,
    `drop table t_u`,
  ),
  c('context', `do $$ begin perform 1/0; end $$`),
  c(
    'notice, warning, info',
    `do $$ begin raise notice 'n'; raise warning 'w' using detail = 'd', hint = 'h'; raise info 'i'; end $$`,
  ),
  script(
    'notices before their rows',
    `create function f_n() returns int language plpgsql as $$ begin raise notice 'hello'; return 1; end $$;\nselect f_n();\nselect 0; select f_n();\ndrop function f_n();\n`,
  ),
  opts('verbose errors', ['-v', 'VERBOSITY=verbose'], 'select nope'),
  opts('terse errors', ['-v', 'VERBOSITY=terse'], 'select nope', 'select 1/0'),
  opts('sqlstate only', ['-v', 'VERBOSITY=sqlstate'], 'select nope'),
  opts('context never', ['-v', 'SHOW_CONTEXT=never'], `do $$ begin perform 1/0; end $$`),
  opts('context always', ['-v', 'SHOW_CONTEXT=always'], `do $$ begin raise notice 'n'; end $$`),
  script(
    'internal query',
    `create function f_q() returns int language plpgsql as $$ begin return (select nope from pg_class); end $$;\nselect f_q();\ndrop function f_q();\n`,
  ),
  script('errverbose', `\\errverbose\nselect nope;\n\\errverbose\n`),
  script(
    'errors with file and line',
    `\n\nselect 1;\nselect\n  nope;\n\\d nosuch\n\\echo :'x\n\\foo bar\n`,
    '-f',
    '-',
  ),
];

const scanning: Case[] = [
  script(
    'quotes and dollar quotes',
    `select 'a;b', "x;y" from (select 1 as "x;y") s;\nselect $$a;b$$, $t$ $$;$$ $t$;\nselect E'it\\'s;', 'it''s;';\n`,
  ),
  script(
    'strings over lines',
    `select 'a\n\nb;c' as x;\nselect 'con'\n'cat';\nselect U&'\\0041;', b'101', x'1F', n'n;';\n`,
  ),
  script(
    'nested comments',
    `select /* a /* b; */ c; */ 1;\nselect 2 -- not; here\n;\n/* open\n; */ select 3;\n`,
  ),
  script('parentheses', `select (1;\n2);\n(select 1);\nselect ')' , (2);\n`),
  script(
    'begin atomic',
    `create function f_a(x int) returns int language sql begin atomic select case when x > 0 then 1 else 2 end; end;\nselect f_a(1);\ndrop function f_a(int);\n`,
  ),
  script('forced semicolons', `select 1\\; select 2;\nbegin\\; select 3\\; commit;\n`),
  script(
    'backslash commands anywhere',
    `select 1 \\g\nselect 2 \\echo in between\n;\nselect 3; \\echo after \\\\ select 4;\n`,
  ),
  script(
    'variables',
    `\\set n 5\n\\set t 'it''s'\n\\set i 'a "b"'\nselect :n, :'t', :'n' as :"i";\nselect :{?n}, :{?none};\nselect ':n', ":n" from (select 1 as ":n") s;\nselect :none;\nselect 1::text, a[1:2] from (select array[1,2,3] as a) s;\n`,
  ),
  script(
    'variables with whole statements',
    `\\set q 'select 1; select 2;'\n:q\n\\set r 'select :n'\n\\set n 7\n:r;\n\\set loop ':loop'\nselect ':loop' as x, 1 :loop;\n`,
  ),
  script(
    'operators',
    `select 1 +-- comment\n 2, 4 @ -5 is null;\nselect -1, 1<2, '{1}'::int[] @> '{1}';\nselect 5 !=-1;\n`,
  ),
  script('numbers and words', `select 1e3, 0x1F, 1_000, .5, 5.;\nselect a$b, $1 from (select 1 as a$b) s;\n`),
  script('comments before a statement', `-- one\n/* two */\n  select 1; -- three\n`, '-e'),
  script('unterminated string at the end', `select 'abc\n`),
  script('unterminated quote of an argument', `\\echo 'abc\nselect 1;\n`),
];

const commands: Case[] = [
  script(
    'echo',
    `\\echo a  b 'c  d' "e f"\n\\echo -n no newline\n\\echo\n\\echo '-n' x\n\\echo 'a\\tb\\n\\101\\x42'\n\\qecho to output\n\\warn to errors\n\\echo \`echo back\` :DBNAME :none\n`,
  ),
  script(
    'set and unset',
    `\\set a 1 2 'three four'\n\\echo :a\n\\unset a\n\\echo :a\n\\set b\n\\echo [:b]\n\\unset\n\\set a-b 1\n\\unset nosuch\n`,
  ),
  script(
    'special variables refuse',
    `\\set ON_ERROR_STOP maybe\n\\set FETCH_COUNT x\n\\set ECHO loud\n\\set AUTOCOMMIT\n\\echo :AUTOCOMMIT\n\\unset AUTOCOMMIT\n\\echo :AUTOCOMMIT\n\\set VERBOSITY nope\n\\set ON_ERROR_ROLLBACK perhaps\n\\set HISTCONTROL x\n`,
  ),
  script(
    'result variables',
    `select 1 as a;\n\\echo :ERROR :SQLSTATE :ROW_COUNT\nselect 1/0;\n\\echo :ERROR :SQLSTATE :ROW_COUNT :LAST_ERROR_SQLSTATE :'LAST_ERROR_MESSAGE'\nselect generate_series(1,3) \\g /dev/null\n\\echo :ERROR :ROW_COUNT :LAST_ERROR_SQLSTATE\n`,
  ),
  script(
    'if',
    `\\if true\n\\echo yes\nselect 1;\n\\else\n\\echo no\nselect 2;\n\\endif\n\\if 0\nselect 1/0;\n\\echo \`echo never\`\n\\elif on\n\\echo elif\n\\else\n\\echo else\n\\endif\n`,
  ),
  script(
    'nested if',
    `\\if off\n  \\if yes\n    \\echo a\n  \\else\n    \\echo b\n  \\endif\n  \\foo\n\\elif no\n\\else\n  \\if 1 \\echo inner \\endif\n\\endif\n`,
  ),
  script(
    'if within a statement',
    `select\n\\if false\n 1\n\\else\n 2\n\\endif\n;\nselect (1\n\\if false\n )\n\\endif\n + 1);\n`,
  ),
  script(
    'wrong ifs',
    `\\else\n\\endif\n\\elif x\n\\if maybe\n\\echo no\n\\endif\n\\if 1\n\\else\n\\else\n\\elif 1\n\\endif\n\\if 1\n`,
  ),
  script(
    'if with a query result',
    `select 1 = 1 as ok, 5 as n \\gset\n\\if :ok\n\\echo n is :n\n\\endif\n\\if :{?nosuch} \\echo defined \\else \\echo undefined \\endif\n`,
  ),
  script(
    'gset',
    `select 1 as a, null as b, 'x' as c \\gset p_\n\\echo :p_a :p_b :p_c\nselect 1 where false \\gset\nselect 1 union select 2 \\gset\nselect 1 as "AUTOCOMMIT" \\gset\nselect 1 as "a b" \\gset\n`,
  ),
  script(
    'gexec',
    `select 'select ' || g, null, 'select 1/' || (g - 1) from generate_series(1, 2) g \\gexec\n`,
  ),
  script('gexec echo', `select 'select 1' \\gexec\n`, '-a'),
  script(
    'gdesc',
    `select 1 as a, 'x'::varchar(10) as b, now() as c \\gdesc\nselect \\gdesc\ncreate table nope (a int) \\gdesc\nselect nope \\gdesc\n`,
  ),
  script(
    'g and gx',
    `select 1 as a\n\\g\n\\g\nselect 1 as a, 2 as b \\gx\nselect 3 as c;\nselect 1 as a \\g (format=unaligned tuples_only=on)\nselect 1 as a \\g (format=nope)\nselect 1 as a \\g (border=2\nselect 5;\n`,
  ),
  script('g to a command', `select 1 as a \\g |cat\nselect 2 as b \\g (format=csv) | tr a-z A-Z\n`),
  script('p, r, w', `\\p\nselect 1\n\\p\n\\r\n\\p\nselect 2;\n\\p\n\\w |cat\n`),
  script(
    'pset',
    `\\pset border 2\n\\pset null NULL\n\\pset format csv\n\\pset format nope\n\\pset format a\n\\pset nosuch\n\\pset linestyle unicode\n\\pset linestyle x\n\\pset title 'A'\n\\pset title\n\\pset columns 40\n\\pset expanded auto\n\\pset x\n\\pset fieldsep ','\n\\pset recordsep '|'\n\\pset fieldsep_zero\n\\pset pager 0\n\\pset pager_min_lines 3\n\\pset footer\n\\pset footer on\n\\pset tuples_only\n\\pset tableattr 'a b'\n\\pset tableattr\n\\pset csv_fieldsep ab\n\\pset csv_fieldsep ;\n\\pset unicode_border_linestyle double\n\\pset numericlocale\n\\pset expanded maybe\n`,
  ),
  script(
    'short formatting commands',
    `\\a\nselect 1 as a, 2 as b;\n\\f ;\nselect 1 as a, 2 as b;\n\\a\n\\t\nselect 1;\n\\t off\n\\x\nselect 1;\n\\x auto\n\\x off\n\\H\nselect 1;\n\\H\n\\C Title\nselect 1;\n\\C\n\\T x\n\\T\n`,
  ),
  script('timing', `\\timing off\n\\timing on\n\\timing bad\n`),
  script('o', `\\o |cat\nselect 1;\n\\qecho there\n\\o\nselect 2;\n\\o /nonexistent/x\nselect 3;\n`),
  script('i and ir', `\\i sub.sql\n\\ir sub.sql\n\\i nosuch.sql\n\\i\nselect 2;\n`),
  script('errors within i', `\\i bad.sql\n\\echo back\n`, '-f', '-'),
  script('errors within i with ON_ERROR_STOP', `\\i bad.sql\n\\echo back\n`, '-v', 'ON_ERROR_STOP=1'),
  opts('-f with a file', ['-f', 'bad.sql']),
  opts('-f several', ['-f', 'sub.sql', '-c', 'select 9', '-f', 'bad.sql']),
  opts('ir relative to the script', ['-f', 'folder/outer.sql']),
  script(
    'shell',
    `\\! echo hello\n\\echo done\n\\! exit 3\n\\setenv FOO bar\n\\! echo $FOO\n\\setenv FOO\n\\! echo [$FOO]\n\\setenv A=B c\n\\setenv\n`,
  ),
  script('getenv', `\\getenv h PGUSER\n\\echo :h\n\\getenv none NOSUCHVAR\n\\echo :none\n\\getenv x\n`),
  script('cd', `\\cd folder\n\\! basename $(pwd)\n\\cd ..\n\\cd /nonexistent\n`),
  script('prompt', `\\prompt 'Name: ' who\nWorld\n\\echo Hello :who\n\\prompt who\n`, '-f', '-'),
  script(
    'unknown commands and extra arguments',
    `\\foo\n\\foo bar baz\n\\conninfo_x\n\\dZ\n\\q_\n\\a extra args\n`,
  ),
  script('encoding', `\\encoding\n`),
  script('lo refusal is our own; bind is newer', `\\echo x\n`),
  script(
    'autocommit off',
    `\\set AUTOCOMMIT off\ncreate table t_auto (a int);\nrollback;\nselect count(*) from pg_class where relname = 't_auto';\nrollback;\nvacuum pg_am;\n`,
  ),
  script(
    'on error rollback',
    `\\set ON_ERROR_ROLLBACK on\nbegin;\nselect 1/0;\nselect 'still here' as x;\ncommit;\n`,
  ),
  script('transaction messages', `begin;\nselect 1/0;\nselect 1;\ncommit;\nrollback;\n`),
  script('listen and notify', `listen ch;\nnotify ch;\nnotify ch, 'payload';\n`),
  script('single step is off without -s', `select 1;\n`),
  script(
    'fetch count',
    `\\set FETCH_COUNT 2\nselect g, repeat('x', g) from generate_series(1, 5) g;\n\\x\nselect g from generate_series(1, 3) g;\n\\x\n\\a\nselect g from generate_series(1, 4) g;\n\\pset format csv\nselect g from generate_series(1, 4) g;\nselect 1 where false;\n`,
  ),
  script(
    'connect',
    `\\c postgres\n\\c template1\nselect current_database();\n\\c - postgres\n\\c -reuse-previous=on postgres\n\\c "dbname=template1"\n`,
  ),
  script('connect fails in a script', `\\c nosuch\nselect 1;\n`),
  script(
    'copyless sf',
    `create function f_s(a int) returns int language sql as $$ select a; $$;\n\\sf f_s\n\\sf+ f_s(int)\n\\sf nosuch\n\\sf\ndrop function f_s(int);\n`,
  ),
  script(
    'sv',
    `create view v_s with (security_barrier) as select 1 as a;\n\\sv v_s\n\\sv+ v_s\n\\sv pg_class\n\\sv nosuch\ndrop view v_s;\n`,
  ),
];

const copies: Case[] = [
  script(
    'copy from stdin',
    `create table t_c (a int, b text);\ncopy t_c from stdin;\n1\tone\n2\ttwo;\n\\.\nselect * from t_c order by a;\ncopy t_c to stdout;\ncopy (select a from t_c order by a desc) to stdout (format csv, header);\ndrop table t_c;\n`,
  ),
  script(
    'copy errors',
    `create table t_c (a int);\ncopy t_c from stdin;\nx\n\\.\nselect 1;\ncopy t_c from stdin;\n1\t2\n\\.\nselect count(*) from t_c;\ndrop table t_c;\n`,
  ),
  script(
    'copy to end of file',
    `create table t_c (a int);\n\\echo before\ndrop table t_c;\ncreate temp table t_d (a int);\ncopy t_d from stdin;\n1\n2\n`,
  ),
  script(
    '\\copy',
    `create table t_c (a int, b text);\n\\copy t_c from data.txt\n\\copy t_c (a, b) from 'data.csv' with (format csv)\nselect * from t_c order by a;\n\\copy t_c to out.txt\n\\! cat out.txt\n\\copy (select a from t_c where b <> 'x' order by a) to stdout csv header\n\\copy t_c from program 'echo 9 && exit 3' csv\n\\copy t_c to program 'sort -r'\n\\copy t_c from nosuch.txt\n\\copy t_c from folder\n\\copy t_c\n\\copy\n\\copy t_c sideways x\ndrop table t_c;\n`,
  ),
  script(
    '\\copy from stdin',
    `create table t_c (a int);\n\\copy t_c from stdin\n1\n2\n\\.\n\\copy t_c from pstdin\n3\n\\.\nselect count(*) from t_c;\n\\copy t_c to pstdout\ndrop table t_c;\n`,
  ),
  script(
    'copy with line numbers',
    `create temp table t_c (a int);\ncopy t_c from stdin;\n1\n2\n\\.\nselect 1/0;\n`,
    '-f',
    '-',
  ),
  script('copy to g', `copy (select 1) to stdout \\g |tr 1 2\n`),
];

const options: Case[] = [
  opts('bad option', ['--nosuch']),
  opts('bad letter', ['-y']),
  opts('missing argument', ['-c']),
  opts('missing long argument', ['--command']),
  opts('argument not allowed', ['--csv=1']),
  opts('ambiguous option', ['--no-p']),
  opts('abbreviated option', ['--comm', 'select 1']),
  opts('bundled options', ['-Atqc', 'select 1, 2']),
  opts('attached arguments', ['-A', '-F:', '-cselect 1, 2']),
  opts('long with equals', ['--command=select 1', '--tuples-only']),
  opts('bad pset', ['-P', 'nosuch=1'], 'select 1'),
  opts('bad variable', ['-v', 'a-b=1'], 'select 1'),
  opts('unset by -v', ['-v', 'x'], 'select 1'),
  opts('extra arguments', ['postgres', 'postgres', 'more', 'and'], 'select 1'),
  opts('operands after options', ['-c', 'select current_user', '--', 'postgres', 'postgres']),
  opts('connection URI', ['-d', 'postgresql:///postgres'], 'select current_database()'),
  opts('connection string', ['dbname=template1'], 'select current_database()'),
  opts('no such database', ['nosuch'], 'select 1'),
  opts('no such socket', ['-h', '/nonexistent'], 'select 1'),
  opts('bad port', ['-p', 'x'], 'select 1'),
  opts('refused port', ['-h', '127.0.0.1', '-p', '1'], 'select 1'),
  opts('-o', ['-o', '/dev/null'], 'select 1'),
  opts('-o fails', ['-o', '/nonexistent/x'], 'select 1'),
  { name: 'psqlrc', args: ['-c', 'select :rc'], env: { PSQLRC: 'rc.sql' } },
  { name: 'psqlrc with -f', args: ['-f', 'rc2.sql'], env: { PSQLRC: 'rc.sql' } },
];

export const CASES: Case[] = [...statuses, ...errors, ...scanning, ...commands, ...copies, ...options];

/** Files that cases read, in the working directory. */
export const FILES: Record<string, string> = {
  'sub.sql': "select 'sub' as s;\n",
  'bad.sql': '\\echo in bad\nselect 1/0;\n\\foo\nselect 2;\n',
  'folder/outer.sql': '\\ir inner.sql\n\\ir ../sub.sql\n\\i sub.sql\n',
  'folder/inner.sql': "select 'inner' as i;\n",
  'data.txt': '1\tone\n2\t\\N\n',
  'data.csv': '3,three\n4,"a,b"\n',
  'rc.sql': "\\set rc 42\n\\pset null '(null)'\n",
  'rc2.sql': 'select :rc, null;\n',
};
