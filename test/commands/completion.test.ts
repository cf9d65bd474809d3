// aurora completion: bash is asked what it would offer; every command and flag is in every script, and the shells that are here accept theirs.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PROGRAM, aurora } from './cli.js';

interface Manifest {
  commands: Record<
    string,
    { hidden?: boolean; flags: Record<string, { hidden?: boolean; allowNo?: boolean }> }
  >;
}
const manifest = JSON.parse(
  readFileSync(path.join(path.dirname(PROGRAM), '../oclif.manifest.json'), 'utf8'),
) as Manifest;
const commands = Object.entries(manifest.commands).filter(([, command]) => !command.hidden);

describe('aurora completion', function () {
  this.timeout(60_000);
  const scripts = new Map<string, string>();

  before(async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { status, stdout, stderr } = await aurora(['completion', shell]);
      assert.deepEqual([status, stderr], [0, '']);
      scripts.set(shell, stdout);
    }
  });

  /** What bash offers for a line; its last word is the one to complete. */
  const offered = (...words: string[]): string[] => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const script = `${scripts.get('bash')}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _aurora; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-eu'], {
      input: script,
      encoding: 'utf8',
    });
    assert.deepEqual([status, stderr], [0, ''], words.join(' '));
    return stdout.split('\n').filter((word) => word !== '');
  };

  it('offers commands, then their subcommands, then their flags', () => {
    assert.deepEqual(offered('aurora', 'crea'), ['createdb']);
    assert.deepEqual(offered('aurora', ''), [...new Set(commands.map(([id]) => id.split(':')[0]!))].sort());
    assert.deepEqual(offered('aurora', 'inspect', ''), commands.filter(([id]) => id.startsWith('inspect:')).map(([id]) => id.slice(8)).sort()); // prettier-ignore
    assert.deepEqual(offered('aurora', 'inspect', 'wal', '--st').sort(), ['--start', '--stats']);
    assert.deepEqual(offered('aurora', 'start', '-D', '/x', '--no-w'), ['--no-wait']);
  });

  it('offers a flag’s values, and leaves file names to the shell', () => {
    assert.deepEqual(offered('aurora', 'inspect', 'wal', '--stats', ''), ['rmgr', 'record']);
    assert.deepEqual(offered('aurora', 'start', '-D', ''), []);
  });

  for (const shell of ['bash', 'zsh', 'fish'])
    it(`${shell}: has every command and every flag`, () => {
      const script = scripts.get(shell)!;
      for (const [id, { flags }] of commands) {
        assert.ok(script.includes(id.replaceAll(':', ' ')), id);
        for (const [name, flag] of Object.entries(flags))
          if (!flag.hidden)
            assert.ok(script.includes(shell === 'fish' ? `-l ${name}` : `--${name}`), `${id} --${name}`);
      }
    });

  for (const shell of ['bash', 'zsh', 'fish'])
    it(`${shell} accepts its script`, function () {
      if (spawnSync(shell, ['--version']).error) this.skip();
      const dir = mkdtempSync(path.join(os.tmpdir(), 'oa-completion-'));
      try {
        writeFileSync(path.join(dir, 'script'), scripts.get(shell)!);
        const { status, stderr } = spawnSync(shell, ['-n', path.join(dir, 'script')], { encoding: 'utf8' });
        assert.deepEqual([status, stderr], [0, '']);
      } finally {
        rmSync(dir, { recursive: true });
      }
    });

  it('refuses a shell that it does not know', async () => {
    const { status, stderr } = await aurora(['completion', 'csh']);
    assert.equal(status, 1);
    assert.match(stderr, /^aurora completion: error: .*csh.*bash, zsh, fish/);
  });
});
