/**
 * Commands that need no server start quickly: they load what they use and nothing else. Time would say little on a busy machine, so what is
 * judged is which files a command loads, by the coverage that V8 writes. `npm run bench:startup` measures the milliseconds.
 */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { lsn } from '../../src/engine/lsn.js';
import { segmentFileName } from '../../src/engine/wal/segments.js';
import { encodeLogicalMessage } from '../../src/engine/wal/writer.js';
import { buildLog, SEGMENT } from '../engine/wal/log-builder.js';
import { aurora, tempFolder } from './cli.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What costs most to load, as folders below the package's own. */
const HEAVY = {
  terminal: ['node_modules/ink', 'node_modules/react', 'node_modules/yoga-layout', 'dist/src/ui'],
  pages: ['node_modules/@nxtedition', 'dist/src/engine/pages/store.js', 'dist/src/engine/redo'],
  manifest: ['node_modules/better-sqlite3'],
  client: ['node_modules/pg', 'node_modules/pg-protocol', 'dist/src/psql'],
  network: ['node_modules/ws', 'dist/src/net'],
  certificates: ['node_modules/@peculiar', 'node_modules/reflect-metadata'],
  daemons: ['node_modules/pino', 'node_modules/prom-client', 'dist/src/compute/daemon.js', 'dist/src/storage/daemon.js'], // prettier-ignore
  tables: ['node_modules/cli-table3'],
  versions: ['node_modules/semver'],
};
const ALL = Object.keys(HEAVY) as (keyof typeof HEAVY)[];
const but = (...used: (keyof typeof HEAVY)[]): typeof ALL => ALL.filter((name) => !used.includes(name));

describe('what a command loads before it does something', function () {
  this.timeout(120_000);
  let dir: string;
  let remove: () => Promise<void>;
  let segment: string;

  before(async () => {
    ({ dir, remove } = await tempFolder());
    const mainData = encodeLogicalMessage({ prefix: 'p', content: Buffer.from('m') });
    const log = Buffer.alloc(SEGMENT);
    buildLog(lsn(SEGMENT), [{ mainData }, { mainData }]).bytes.copy(log);
    segment = path.join(dir, segmentFileName(1, 1, SEGMENT));
    await fs.writeFile(segment, log);
  });
  after(() => remove());

  /** Runs a command; the files it loaded, relative to the package. */
  async function loadedBy(args: string[], expected: { status: number; says: RegExp }): Promise<string[]> {
    const coverage = await fs.mkdtemp(path.join(dir, 'coverage-'));
    const ran = await aurora(args, { env: { NODE_V8_COVERAGE: coverage } });
    assert.equal(ran.status, expected.status, ran.stderr);
    assert.match(ran.stdout + ran.stderr, expected.says);
    const loaded = new Set<string>();
    for (const name of await fs.readdir(coverage)) {
      const { result } = JSON.parse(await fs.readFile(path.join(coverage, name), 'utf8')) as {
        result: { url: string }[];
      };
      for (const { url } of result)
        if (url.startsWith('file:')) loaded.add(path.relative(ROOT, fileURLToPath(url)));
    }
    return [...loaded];
  }

  const cases: [string, () => string[], typeof ALL, number, { status: number; says: RegExp }][] = [
    ['--version', () => ['--version'], ALL, 130, { status: 0, says: /^openaurora\/\d/ }],
    ['--help', () => ['--help'], ALL, 130, { status: 0, says: /COMMANDS/ }],
    ["a command's --help", () => ['inspect', 'wal', '--help'], ALL, 130, { status: 0, says: /USAGE/ }],
    [
      'inspect wal of a segment file',
      () => ['inspect', 'wal', '-n', '2', segment],
      ALL,
      165,
      { status: 0, says: /LogicalMessage.*\n.*LogicalMessage/ },
    ],
    [
      'psql with a host',
      () => ['psql', '-h', path.join(dir, 'nobody'), '-c', 'select 1'],
      but('client'),
      220,
      { status: 2, says: /No such file or directory/ },
    ],
    [
      'a command of a cluster that is not there',
      () => ['controldata', '-D', path.join(dir, 'none')],
      but('manifest', 'network'),
      220,
      { status: 1, says: /not an OpenAurora cluster/ },
    ],
  ];
  for (const [name, args, unused, most, expected] of cases)
    it(`${name}: nothing that it does not use`, async () => {
      const loaded = await loadedBy(args(), expected);
      assert.ok(loaded.includes('bin/run.js'), 'coverage was written');
      const needless = loaded.filter((file) =>
        unused.some((set) => HEAVY[set].some((heavy) => file === heavy || file.startsWith(`${heavy}/`))),
      );
      assert.deepEqual(needless, []);
      assert.ok(loaded.length <= most, `${loaded.length} files were loaded, ${most} are enough`);
    });
});
