/** The documents lead somewhere: every relative link names a file that exists, and the man pages are those of the commands as they are. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const DOCUMENTS = ['README.md', ...readdirSync(path.join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter((name) => name.endsWith('.md')); // prettier-ignore

describe('documents', () => {
  for (const document of DOCUMENTS) {
    it(`links of ${document} resolve`, () => {
      const text = readFileSync(path.join(ROOT, document), 'utf8').replace(/```[\s\S]*?```/g, '');
      const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
      const local = targets.filter((target) => !/^(https?:|#)/.test(target));
      if (document === 'docs/ARCHITECTURE.md') assert.ok(local.length > 40, 'the walks go through the code');
      const broken = local.filter((target) => !existsSync(path.join(ROOT, path.dirname(document), target.split('#')[0]!))); // prettier-ignore
      assert.deepEqual(broken, []);
    });
  }
});

describe('man pages', function () {
  this.timeout(60_000);

  it('are up to date with the commands', () => {
    const { status, stderr } = spawnSync(process.execPath, [path.join(ROOT, 'bin/make-man.js'), '--check'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  });

  it('render without a warning', function () {
    if (spawnSync('groff', ['--version']).error) this.skip();
    const dir = path.join(ROOT, 'man');
    const pages = readdirSync(dir);
    assert.ok(pages.length > 10);
    for (const name of pages) {
      // Without grotty's bold and underline, which overstrike.
      const args = ['-man', '-Tutf8', '-P-cbou', '-ww', path.join(dir, name)];
      const { status, stdout, stderr } = spawnSync('groff', args, { encoding: 'utf8' });
      assert.equal(status, 0, name);
      assert.equal(stderr, '', name);
      assert.match(stdout, /^SYNOPSIS$[\s\S]*^DESCRIPTION$/m, name);
    }
  });
});
