/** More invocations that give the same in psql 15 and ours: rarer flags, commands and inputs. `{socket}` stands for the server's socket folder. */
import { c, opts, script, type Case } from './cases.js';

const rows = `select * from (values (1, 'one', 1.5), (22, null, -10), (333, E'two\\nlines', 0)) v(id, "the name", amount)`;
const special = `select '#$%&<>\\^_{|}~' as "a_b & c", E'x\\ny' as "line\nbreak", 5 as n`;

/** Formats that print documents for other programs. */
const documents: Case[] = (['latex', 'latex-longtable', 'troff-ms'] as const).flatMap((format) => [
  ...['0', '1', '2', '3'].map((border) =>
    opts(`${format}, border ${border}`, ['-P', `format=${format}`, '-P', `border=${border}`], rows, special),
  ),
  opts(`${format} expanded`, ['-x', '-P', `format=${format}`], rows, special),
  opts(`${format} expanded, border 2`, ['-x', '-P', `format=${format}`, '-P', 'border=2'], rows),
  opts(`${format} tuples only`, ['-t', '-P', `format=${format}`], rows, 'select 1 where false'),
  opts(`${format} tuples only, expanded`, ['-t', '-x', '-P', `format=${format}`], rows),
  opts(
    `${format} title, border 2`,
    ['-P', `format=${format}`, '-P', 'border=2', '-P', 'title=T', '-T', '0.1'],
    rows,
  ),
  opts(
    `${format} title, border 3`,
    ['-P', `format=${format}`, '-P', 'border=3', '-P', 'title=T', '-t'],
    rows,
  ),
  opts(
    `${format} expanded title, no border`,
    ['-x', '-P', `format=${format}`, '-P', 'border=0', '-P', 'title=T'],
    rows,
  ),
  script(
    `${format} of a catalog command`,
    `\\pset format ${format}\n\\dn\n\\d app.items\n\\x\n\\d app.counter\n\\set FETCH_COUNT 2\nselect g from generate_series(1, 3) g;\n\\x\nselect g from generate_series(1, 3) g;\n`,
  ),
  opts(
    `${format} title and attributes`,
    ['-P', `format=${format}`, '-P', 'title=A & B', '-P', 'tableattr=0.2 0.5'],
    rows,
  ),
]);

const output: Case[] = [
  opts('format by abbreviation', ['-P', 'format=lat', '-P', 'format=t', '-P', 'format=u'], rows),
  opts(
    'latex as an exact name',
    ['-P', 'format=latex'],
    '\\pset format',
    '\\pset format latex-',
    '\\pset format x',
    '\\pset format al',
    '\\pset format a',
  ),
  opts('csv with quotes forced', ['--csv'], `select ' a', 'a ', '', null, E'a\\rb', '"'`),
  opts('csv tuples only', ['--csv', '-t'], rows, 'select 1 where false'),
  opts('csv title and footer are not shown', ['--csv', '-P', 'title=T'], rows),
  opts('asciidoc borders', ['-P', 'format=asciidoc', '-P', 'border=2', '-P', 'title=T'], rows),
  opts('asciidoc no border, tuples only', ['-t', '-P', 'format=asciidoc', '-P', 'border=0'], rows),
  opts('html border and title', ['-H', '-P', 'border=0', '-P', 'title=A < B', '-P', 'footer=off'], rows),
  opts('html tuples only expanded', ['-H', '-t', '-x'], rows),
  opts('html spaces', ['-H'], `select '' as e, ' ' as s, '   x' as i, E'a\\nb' as "nl"`),
  opts('unaligned title', ['-A', '-P', 'title=T', '-P', 'footer=off'], rows),
  opts('unaligned expanded separators', ['-A', '-x', '-F', '=', '-R', '--'], rows),
  opts('unaligned expanded zero separators', ['-A', '-x', '-z', '-0'], rows),
  opts('unaligned empty record separator', ['-A', '-R', ''], rows),
  opts('expanded title', ['-x', '-P', 'title=The title', '-P', 'border=2'], rows),
  opts('expanded tuples only no rows', ['-x', '-t'], 'select 1 where false', 'select'),
  opts(
    'wrapped narrow',
    ['-P', 'format=wrapped', '-P', 'columns=10'],
    rows,
    'select 123456789012 as long_number, 1 as b',
  ),
  opts(
    'wrapped with tabs',
    ['-P', 'format=wrapped', '-P', 'columns=20'],
    `select E'a\\tb c d e f g h i j k' as t, 'x' as u`,
  ),
  opts(
    'wrapped with wide characters',
    ['-P', 'format=wrapped', '-P', 'columns=9'],
    `select '漢字漢字漢字' as a, 'é́é' as b`,
  ),
  opts(
    'wrapped multi-line header',
    ['-P', 'format=wrapped', '-P', 'columns=20'],
    `select repeat('x', 30) as "a\nlonger header line"`,
  ),
  opts('null display in every place', ['-P', 'null=∅', '-A'], 'select null as a, 1 as b'),
  opts('null display in csv', ['-P', 'null=NULL', '--csv'], 'select null as a, 1 as b'),
  opts('null display in html', ['-P', 'null=<null>', '-H'], 'select null as a'),
  c('a very wide row', `select repeat('x', 5000) as x, 1 as b`),
  c('many columns', `select ${Array.from({ length: 200 }, (_, i) => `${i} as c${i}`).join(', ')}`),
  opts(
    'many columns expanded',
    ['-x'],
    `select ${Array.from({ length: 120 }, (_, i) => `${i} as c${i}`).join(', ')}`,
  ),
  opts(
    'many records expanded',
    ['-x'],
    'select g, repeat(chr(97 + g % 26), g % 17) as t from generate_series(1, 120) g',
  ),
  opts('combining and zero width', [], `select E'\\u0939\\u093f' as deva, '한글' as hangul, '🇩🇪' as flag`),
  opts(
    'control characters',
    [],
    `select E'\\x01\\x1b[31m\\x7f' as c, E'\\u0085\\u00a0' as nel, E'a\\vb\\fc' as vf`,
  ),
  opts(
    'old-ascii wrapped',
    ['-P', 'format=wrapped', '-P', 'columns=20', '-P', 'linestyle=old-ascii'],
    `select repeat('abc ', 10) as "x\ny", E'1\\n2' as b`,
  ),
  opts(
    'unicode wrapped double',
    [
      '-P',
      'format=wrapped',
      '-P',
      'columns=24',
      '-P',
      'linestyle=unicode',
      '-P',
      'border=2',
      '-P',
      'unicode_border_linestyle=double',
    ],
    `select repeat('abc ', 10) as x, E'1\\n2' as b`,
  ),
  opts(
    'numericlocale expanded',
    ['-x', '-P', 'numericlocale'],
    `select 1234567.891, 1e100::float8, '-12345'::numeric`,
  ),
  opts(
    'numbers of all kinds',
    [],
    `select 'NaN'::float8, '-Infinity'::float4, 1e-10::float8, 0.1::float4, '1e400'::numeric is null, (-5)::int2`,
  ),
  opts(
    'types as text',
    [],
    `select '{1,2}'::int[], row(1,'a b'), '\\xdead'::bytea, '2024-02-29'::date, '{"a": 1}'::jsonb, '1 mon 2 days'::interval, '10.0.0.0/8'::cidr, 'a'::"char", null::int`,
  ),
];

const crosstab = `select v, h, c from (values ('v1','h2','foo','2000-04-01'::date), ('v2','h1','bar','2000-01-02'), ('v1','h0','baz','1999-07-08'), ('v0','h4','qux','2015-07-15')) as q(v,h,c,d)`;
const crosstabs: Case[] = [
  script(
    'crosstabview',
    `${crosstab} \\crosstabview\n${crosstab} order by 1 desc, 2 \\crosstabview v h c\n${crosstab} \\crosstabview 1 2 3\n`,
  ),
  script(
    'crosstabview sorted',
    `select v, h, c, row_number() over (order by h desc) as r from (values ('v1','h2','a'), ('v2','h1','b'), ('v1','h0',null)) q(v, h, c) \\crosstabview v h c r\n`,
  ),
  script(
    'crosstabview nulls',
    `\\pset null '#null#'\nselect v, h, c from (values ('a', null, 'x'), (null, 'h', 'y'), ('a', 'h', null)) q(v, h, c) \\crosstabview\n`,
  ),
  script(
    'crosstabview numbers at the right',
    `select a, a % 3 as b, a * a as c from generate_series(1, 9) a \\crosstabview a b c\n`,
  ),
  script(
    'crosstabview expanded and csv',
    `\\x\n${crosstab} \\crosstabview\n\\x\n\\pset format csv\n${crosstab} \\crosstabview\n`,
  ),
  script(
    'crosstabview errors',
    `select 1 \\crosstabview\nselect 1, 2, 3, 4 \\crosstabview\n${crosstab} \\crosstabview v v c\n${crosstab} \\crosstabview nope h c\n${crosstab} \\crosstabview 0 2 3\n${crosstab} \\crosstabview 1 9 3\nselect 1 as a, 1 as a, 2 as b \\crosstabview a b\nselect a, b, c from (values (1,1,1),(1,1,2)) t(a,b,c) \\crosstabview\nselect a, 1 as b, 2 as c, 'x' as d from generate_series(1,2) a \\crosstabview a b c d\ncreate temp table t (a int) \\crosstabview\nselect 1/0 \\crosstabview\nselect 1 as a, 2 as b, 3 as c where false \\crosstabview\n`,
  ),
  script(
    'crosstabview quoted names',
    `select 1 as "A b", 2 as b, 3 as "C" \\crosstabview "A b" b "C"\nselect 1 as "A b", 2 as b, 3 as "C" \\crosstabview a b c\nselect 1 as a, 2 as b, 3 as c \\crosstabview A B C extra more\n`,
  ),
  script(
    'crosstabview too many columns',
    `select 1 as v, g as h, g as c from generate_series(1, 1700) g \\crosstabview\n`,
  ),
];

const editing: Case[] = [
  {
    ...script(
      'ef and ev',
      `\\ef f_ef\n;\n\\ef f_ef 3\n\\g\n\\ef nosuch\n\\ef f_ef(text)\n\\ev v_ev\n\\r\n\\ev v_ev 2\n;\n\\ev nosuch\n\\ev\n\\p\n\\r\n\\ef\n\\p\n\\r\nselect 1;\n`,
    ),
    env: { EDITOR: 'touch -d tomorrow', PSQL_EDITOR_LINENUMBER_ARG: '+' },
  },
  { ...script('editor that fails', `select 1\n\\e\n;\n\\ef f_ef\n;\n`), env: { EDITOR: 'false' } },
  {
    ...script(
      'editor with line numbers',
      `select 1\n\\e 1\n;\n\\e edit.sql 2\n\\e edit.sql x\n\\e edit.sql 0\n`,
    ),
    env: { EDITOR: 'echo', PSQL_EDITOR_LINENUMBER_ARG: '--line ' },
  },
  {
    ...script('edit a file that is then run', `\\e edit.sql\n\\p\n;\n`),
    env: { EDITOR: 'touch -d tomorrow', PSQL_EDITOR_LINENUMBER_ARG: '+' },
  },
  script(
    'sf with kinds of functions',
    `\\sf f_ef(int)\n\\sf+ f_ef\n\\sf p_ef\n\\sf pg_catalog.abs(int)\n\\sf abs\n\\sf "NoSuch"\n\\sf count\n`,
  ),
];

const objects: Case[] = [
  script(
    'large objects',
    `\\lo_import data.txt 'a comment'\n\\echo :LASTOID\n\\lo_export :LASTOID lo.out\n\\! cat lo.out\n\\lo_export 1 lo.out\n\\lo_unlink 1\n\\lo_unlink :LASTOID\n\\lo_import nosuch.txt\n\\lo_import\n\\lo_export 1\n\\lo_export\n\\lo_unlink\n\\lo_list\n\\lo_bad\n\\lo_export x y\n`,
  ),
  script(
    'large objects in a transaction',
    `begin;\n\\lo_import data.txt\nrollback;\n\\set AUTOCOMMIT off\n\\lo_import data.csv\n\\lo_unlink :LASTOID\ncommit;\n`,
  ),
  opts(
    'large objects quiet',
    ['-q'],
    `\\lo_import data.txt`,
    `\\lo_unlink 99999999`,
    'select lo_unlink(max(oid)) from pg_largeobject_metadata',
  ),
];

const watches: Case[] = [
  script(
    'watch ends with an error',
    `create temp sequence s;\nselect 1 / (3 - nextval('s')) as x \\watch 0.01\n\\echo after\n`,
  ),
  script(
    'watch with a title',
    `create temp sequence s;\n\\pset title 'My title'\nselect 1 / (2 - nextval('s')) as x \\watch 0.01\n`,
  ),
  script(
    'watch repeats the query before',
    `create temp sequence s;\nselect 1 / (3 - nextval('s')) as x;\n\\watch 0.01\n`,
  ),
  script(
    'watch a command',
    `create temp table t (a int check (a < 2));\ninsert into t select count(*) from t \\watch 0.01\n`,
  ),
  script('watch expanded', `create temp sequence s;\n\\x\nselect 1 / (2 - nextval('s')) as x \\watch 0.01\n`),
];

export const MORE_OUTPUT_CASES: Case[] = [...documents, ...output, ...crosstabs];
export const MORE_CASES: Case[] = [...editing, ...objects, ...watches];

/** What they find in the database and in their folder. */
export const MORE_SETUP = `
create function f_ef(a int) returns int language sql as $$ select a $$;
create procedure p_ef(a int) language plpgsql as $$ begin perform a; end $$;
create view v_ev as select 1 as a;
`;
export const MORE_FILES: Record<string, string> = { 'edit.sql': "select 'edited' as e" };
