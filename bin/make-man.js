#!/usr/bin/env node
/**
 * Writes the man pages in man/ from the commands' own definitions (the same that --help prints). They are checked in, because the
 * package ships them; a test runs this with --check, which only compares and fails when one is out of date.
 *
 *   node bin/make-man.js [--check]      (after npm run build)
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DIR = path.join(ROOT, 'man');

/** Variables that commands read beside those named with their flags. */
const ENVIRONMENT = [
  ['AURORA_HOME', 'Directory of the cluster, as with \\fB\\-D\\fR.'],
  ['AURORA_PG_BINDIR', "bin directory of your own PostgreSQL 18, in place of the package's."],
  ['CC', 'C compiler for the page-in library, which is compiled on first use (default: cc).'],
  [
    'PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD',
    "As in PostgreSQL's programs; for commands that connect to the server.",
  ],
  ['DEBUG', 'When set, failures print their stack trace too.'],
];

/** Text in roff: no character of it may be taken for a request or an escape. */
function text(value) {
  return value
    .replaceAll('<%= config.bin %>', 'aurora')
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(['.])/gm, '\\&$1');
}

function paragraphs(value) {
  return text(value)
    .trim()
    .split(/\n{2,}/)
    .join('\n.PP\n');
}

function flagTitle(flag) {
  const value =
    flag.type === 'option'
      ? ` \\fI${text(flag.helpValue ?? ((flag.options ?? []).join('|') || 'VALUE'))}\\fR`
      : '';
  const long = `\\fB\\-\\-${flag.allowNo ? '[no\\-]' : ''}${text(flag.name)}\\fR`;
  return (flag.char ? `\\fB\\-${flag.char}\\fR, ${long}` : long) + value;
}

function flagText(flag) {
  const parts = [flag.summary ?? flag.description ?? ''];
  if (flag.options) parts.push(`One of: ${flag.options.join(', ')}.`);
  if (flag.default !== undefined && flag.type === 'option') parts.push(`Default: ${String(flag.default)}.`);
  if (flag.env) parts.push(`Environment: ${flag.env}.`);
  const sentences = parts
    .filter((part) => part !== '')
    .map((part) => (/[.)]$/.test(part) ? part : `${part}.`));
  return text(sentences.map((s) => s[0].toUpperCase() + s.slice(1)).join(' ')) || 'As in PostgreSQL.';
}

function argName(arg) {
  const name = `\\fI${text(arg.name.toUpperCase())}\\fR`;
  return arg.required ? name : `[${name}]`;
}

function page(name, title, sections) {
  const body = sections
    .filter(([, content]) => content !== '')
    .map(([head, content]) => `.SH ${head}\n${content}\n`);
  return `.\\" Made by bin/make-man.js from the commands' definitions; edit those.\n.TH "${name.toUpperCase()}" "1" "" "OpenAurora" "OpenAurora"\n.SH NAME\n${text(name)} \\- ${text(title.replace(/\.$/, ''))}\n${body.join('')}`;
}

function commandPage(command, seeAlso) {
  const words = command.id.replaceAll(':', ' ');
  const args = Object.values(command.args ?? {});
  const flags = Object.values(command.flags ?? {}).filter((flag) => !flag.hidden);
  flags.sort((a, b) => a.name.localeCompare(b.name));
  const options = [
    ...args.map((arg) => `.TP\n${argName(arg)}\n${flagText(arg)}`),
    ...flags.map((flag) => `.TP\n${flagTitle(flag)}\n${flagText(flag)}`),
  ];
  const synopsis = [
    `.B aurora ${text(words)}`,
    flags.length > 0 ? '[\\fIOPTION\\fR]...' : '',
    ...args.map(argName),
  ];
  const examples = [command.examples ?? []]
    .flat()
    .map((line) => `.nf\n${text(String(line.command ?? line))}\n.fi`);
  return page(`aurora-${command.id.replaceAll(':', '-')}`, command.summary ?? words, [
    ['SYNOPSIS', synopsis.filter((part) => part !== '').join('\n')],
    ['DESCRIPTION', paragraphs([command.summary, command.description].filter(Boolean).join('\n\n'))],
    ['OPTIONS', options.join('\n')],
    ['EXAMPLES', examples.join('\n')],
    ['SEE ALSO', seeAlso.map((id) => `.BR ${text(id)} (1)`).join(',\n')],
  ]);
}

function overviewPage(commands, description) {
  const list = commands.map(
    ({ id, summary }) => `.TP\n\\fBaurora\\-${text(id.replaceAll(':', '-'))}\\fR(1)\n${text(summary ?? '')}`,
  );
  const environment = ENVIRONMENT.map(([name, about]) => `.TP\n\\fB${name}\\fR\n${about}`);
  return page('aurora', 'an Aurora-like database: PostgreSQL on a replicated, log-structured page service', [
    ['SYNOPSIS', '.B aurora\n\\fICOMMAND\\fR\n[\\fIOPTION\\fR]...'],
    [
      'DESCRIPTION',
      paragraphs(
        `${description}.\n\nEach command follows the PostgreSQL program of the same name in its flags, exit status and output. "aurora COMMAND --help" prints what its man page says.`,
      ),
    ],
    ['COMMANDS', list.join('\n')],
    ['ENVIRONMENT', environment.join('\n')],
    [
      'EXIT STATUS',
      paragraphs(
        '0 on success, 1 on failure. "aurora status": 3 when the cluster is not running, 4 when there is none. "aurora psql": as psql. "aurora isready": as pg_isready. 128 and the number of the signal when interrupted.',
      ),
    ],
  ]);
}

const config = await Config.load({ root: ROOT });
const commands = config.commands
  .filter(({ id, hidden }) => !hidden && id !== 'help')
  .sort((a, b) => a.id.localeCompare(b.id));
const description = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')).description;
const pages = new Map([['aurora.1', overviewPage(commands, description)]]);
for (const command of commands) {
  const name = command.id.replaceAll(':', '-');
  // The commands of its topic; the overview lists them all.
  const topic = command.id.split(':')[0];
  const others = commands
    .filter(({ id }) => id !== command.id && id.split(':')[0] === topic)
    .map(({ id }) => `aurora-${id.replaceAll(':', '-')}`);
  pages.set(`aurora-${name}.1`, commandPage(command, ['aurora', ...others]));
}

mkdirSync(DIR, { recursive: true });
const stale = [];
for (const [file, content] of pages) {
  let found = null;
  try {
    found = readFileSync(path.join(DIR, file), 'utf8');
  } catch (err) {
    if (err.code !== 'ENOENT') throw err;
  }
  if (found !== content) stale.push(file);
}
const extra = readdirSync(DIR).filter((file) => !pages.has(file));
if (process.argv.includes('--check')) {
  for (const file of [...stale, ...extra])
    console.error(`man/${file} is out of date: run node bin/make-man.js`);
  if (stale.length + extra.length > 0) process.exitCode = 1;
} else {
  for (const file of stale) writeFileSync(path.join(DIR, file), pages.get(file));
  for (const file of extra) rmSync(path.join(DIR, file));
  console.log(`${pages.size} man pages, ${stale.length} written, ${extra.length} removed`);
}
