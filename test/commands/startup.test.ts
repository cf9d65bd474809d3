/**
 * Commands that need no server start quickly: they load few files, run what they use of the bundle and nothing else, and V8 does not compile
 * that again. Time would say little on a busy machine, so what is judged is which files and which modules of the bundle a command loads, by
 * the coverage that V8 writes. `npm run bench:startup` measures the milliseconds.
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

/** An account that owns nothing. */
const NOBODY = 65534;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What costs most to load, as modules or folders below the package's own. */
const HEAVY = {
  terminal: ['node_modules/ink', 'node_modules/react', 'node_modules/yoga-layout', 'dist/src/ui'],
  pages: ['node_modules/@nxtedition', 'src/engine/pages/store.ts', 'src/engine/redo'],
  manifest: ['node_modules/better-sqlite3'],
  client: ['node_modules/pg', 'node_modules/pg-protocol', 'src/psql'],
  network: ['node_modules/ws', 'src/net'],
  certificates: ['node_modules/@peculiar', 'node_modules/reflect-metadata'],
  daemons: [
    'node_modules/pino',
    'node_modules/prom-client',
    'src/compute/daemon.ts',
    'src/storage/daemon.ts',
  ],
  tables: ['node_modules/cli-table3'],
  versions: ['node_modules/semver'],
};
const ALL = Object.keys(HEAVY) as (keyof typeof HEAVY)[];
const but = (...used: (keyof typeof HEAVY)[]): typeof ALL => ALL.filter((name) => !used.includes(name));
const BUNDLE = 'dist/cli/aurora.cjs';

/** Part of what V8 writes: the script's functions, and how often each ran. */
interface Coverage {
  result: { url: string; functions: { functionName: string; ranges: { count: number }[] }[] }[];
}

interface Case {
  args: () => string[];
  unused: typeof ALL;
  /** Files in all. */
  files: number;
  /** Modules of the bundle, the framework's some 110 among them. */
  modules: number;
  status: number;
  says: RegExp;
}

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

  /** Runs a command; the files that it loaded, relative to the package, and the modules of the bundle that it ran, by their sources. */
  async function loadedBy({ args, status, says }: Case): Promise<{ files: string[]; modules: string[] }> {
    const folder = await fs.mkdtemp(path.join(dir, 'coverage-'));
    const ran = await aurora(args(), { env: { NODE_V8_COVERAGE: folder } });
    assert.equal(ran.status, status, ran.stderr);
    assert.match(ran.stdout + ran.stderr, says);
    const files = new Set<string>();
    const modules = new Set<string>();
    for (const name of await fs.readdir(folder)) {
      const { result } = JSON.parse(await fs.readFile(path.join(folder, name), 'utf8')) as Coverage;
      for (const { url, functions } of result) {
        if (!url.startsWith('file:')) continue;
        const file = path.relative(ROOT, fileURLToPath(url));
        files.add(file);
        if (file !== BUNDLE) continue;
        // The bundler names the function that is a module after its source.
        for (const { functionName, ranges } of functions)
          if (functionName.includes('/') && ranges[0]!.count > 0) modules.add(functionName);
      }
    }
    return { files: [...files], modules: [...modules] };
  }

  const cases: Record<string, Case> = {
    '--version': {
      args: () => ['--version'],
      unused: ALL,
      files: 3,
      modules: 130,
      status: 0,
      says: /^openaurora\/\d/,
    },
    '--help': { args: () => ['--help'], unused: ALL, files: 3, modules: 130, status: 0, says: /COMMANDS/ },
    "a command's --help": {
      args: () => ['inspect', 'wal', '--help'],
      unused: ALL,
      files: 3,
      modules: 130,
      status: 0,
      says: /USAGE/,
    },
    'inspect wal of a segment file': {
      args: () => ['inspect', 'wal', '-n', '2', segment],
      unused: ALL,
      files: 4,
      modules: 165,
      status: 0,
      says: /LogicalMessage.*\n.*LogicalMessage/,
    },
    'psql with a host': {
      args: () => ['psql', '-h', path.join(dir, 'nobody'), '-c', 'select 1'],
      unused: but('client'),
      files: 3,
      modules: 220,
      status: 2,
      says: /No such file or directory/,
    },
    'a command of a cluster that is not there': {
      args: () => ['controldata', '-D', path.join(dir, 'none')],
      unused: but('manifest', 'network'),
      files: 17, // SQLite has 13
      modules: 220,
      status: 1,
      says: /not an OpenAurora cluster/,
    },
  };
  for (const [name, one] of Object.entries(cases))
    it(`${name}: nothing that it does not use`, async () => {
      const { files, modules } = await loadedBy(one);
      assert.ok(files.includes('bin/run.js') && modules.length > 50, 'coverage was written');
      const needless = [...files, ...modules].filter((module) =>
        one.unused.some((set) =>
          HEAVY[set].some((heavy) => module === heavy || module.startsWith(`${heavy}/`)),
        ),
      );
      assert.deepEqual(needless, []);
      assert.ok(
        files.length <= one.files,
        `${one.files} files are enough, but loaded were ${files.join(' ')}`,
      );
      assert.ok(modules.length <= one.modules, `${modules.length} modules ran, ${one.modules} are enough`);
    });
});

describe("V8's compiled code of the bundle", function () {
  this.timeout(120_000);
  let dir: string;
  let remove: () => Promise<void>;
  let cli: string;

  /** The package without its code. */
  before(async () => {
    ({ dir, remove } = await tempFolder());
    cli = path.join(dir, 'dist/cli');
    await fs.mkdir(cli, { recursive: true });
    await fs.mkdir(path.join(dir, 'bin'));
    for (const file of ['package.json', 'oclif.manifest.json', 'bin/run.js', 'bin/with-code.js', BUNDLE])
      await fs.copyFile(path.join(ROOT, file), path.join(dir, file));
  });
  after(() => remove());

  const version = async (uid?: number): Promise<void> => {
    const program = path.join(dir, 'bin/run.js');
    const ran = await aurora(['--version'], { program, ...(uid === undefined ? {} : { uid }) });
    assert.deepEqual([ran.status, ran.stderr], [0, '']);
    assert.match(ran.stdout, /^openaurora\/\d/);
  };
  /** Of each file beside the bundle, its size and what changes when it is written again. */
  const kept = async (): Promise<{ name: string; ino: number; size: number }[]> => {
    const names = (await fs.readdir(cli)).filter((name) => name !== path.basename(BUNDLE));
    return Promise.all(
      names.map(async (name) => {
        const { ino, size } = await fs.stat(path.join(cli, name));
        return { name, ino, size };
      }),
    );
  };

  it('is not missed where it cannot be written', async () => {
    await fs.chmod(cli, 0o555);
    await version(process.getuid?.() === 0 ? NOBODY : undefined);
    await fs.chmod(cli, 0o755);
    assert.deepEqual(await kept(), []);
  });

  it('is written by the first command, and used by those after it', async () => {
    await version();
    const first = await kept();
    assert.equal(first.length, 1);
    assert.match(first[0]!.name, /\.code$/);
    assert.ok(first[0]!.size > 100_000);
    await version();
    assert.deepEqual(await kept(), first, 'V8 took it, or it would have been made again');
  });

  it('is made again when it is cut short', async () => {
    const [whole] = await kept();
    await fs.truncate(path.join(cli, whole!.name), Math.floor(whole!.size / 2));
    await version();
    const [mended] = await kept();
    assert.notEqual(mended!.ino, whole!.ino);
    assert.ok(mended!.size > whole!.size / 2);
  });

  it('of another bundle is not used', async () => {
    const before = await kept();
    const later = new Date(Date.now() + 60_000);
    await fs.utimes(path.join(dir, BUNDLE), later, later);
    await version();
    assert.equal((await kept()).length, before.length + 1);
  });
});
