/** What this proves: `inspect page` takes apart every page of every index type of a real server, in lines that fit a terminal. */
import assert from 'node:assert/strict';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import { decodePage, type DecodedPage } from '../../src/inspect/page-decode.js';
import { formatPage } from '../../src/inspect/page-print.js';
import { startPlainPostgres } from '../helpers/plain-postgres.js';

const ROWS = 3000;
const INDEXES = {
  hash: 'USING hash (id)',
  gin: 'USING gin (tags)',
  gist: 'USING gist (at)',
  spgist: 'USING spgist (word)',
  brin: 'USING brin (id) WITH (pages_per_range = 2)',
};

describe('inspect page: hash, gin, gist, spgist and brin pages', function () {
  this.timeout(60_000);
  const pages = new Map<string, DecodedPage[]>();

  before(async () => {
    const server = await startPlainPostgres();
    try {
      await server.sql('CREATE TABLE t (id int, tags int[], at point, word text)');
      for (const [kind, definition] of Object.entries(INDEXES))
        await server.sql(`CREATE INDEX t_${kind} ON t ${definition}`);
      await server.sql(`INSERT INTO t SELECT g, ARRAY[g % 7, g % 100 + 10], point(g % 50, g / 50), 'w' || md5(g::text)
        FROM generate_series(1, ${ROWS}) g; SELECT brin_summarize_new_values('t_brin')`);
      const files = new Map<string, string>();
      for (const kind of Object.keys(INDEXES)) {
        const [row] = await server.sql(`SELECT pg_relation_filepath('t_${kind}') AS file`);
        files.set(kind, row!['file'] as string);
      }
      await server.stop();
      for (const [kind, file] of files) {
        const bytes = await fs.readFile(path.join(server.dataDir, file));
        const decoded: DecodedPage[] = [];
        for (let at = 0; at < bytes.length; at += BLCKSZ)
          decoded.push(
            decodePage(bytes.subarray(at, at + BLCKSZ), {
              fork: 0,
              blkno: at / BLCKSZ,
              kind: null,
              attributes: null,
            }),
          );
        pages.set(kind, decoded);
      }
    } finally {
      await server.destroy();
    }
  });

  for (const kind of Object.keys(INDEXES))
    it(`${kind}: knows the page without being told, and finds nothing wrong`, () => {
      for (const [blkno, page] of pages.get(kind)!.entries()) {
        assert.equal(page.problem, undefined, `block ${blkno}`);
        if (page.type === 'new') continue;
        assert.equal(page.type, kind, `block ${blkno}`);
        assert.ok(page.index, `block ${blkno}`);
        const relation = { name: `t_${kind}`, spcOid: 1663, dbOid: 5, relNumber: 1 };
        const text = formatPage({
          relation,
          fork: 'main',
          block: blkno,
          blocks: pages.get(kind)!.length,
          lsn: '0/0',
          page,
          versions: [],
          versionsProblem: null,
        });
        for (const line of text.split('\n')) assert.ok(line.length <= 80, line);
      }
    });

  it('shows each row once: hash, gist and spgist entries add up to the rows of the table', () => {
    const count = (kind: string, isRow: (entry: Record<string, unknown>) => boolean): number =>
      pages
        .get(kind)!
        .flatMap((page) => page.index?.entries ?? [])
        .filter(isRow).length;
    assert.equal(
      count('hash', (e) => 'tid' in e),
      ROWS,
    );
    assert.equal(
      count('gist', (e) => typeof e['tid'] === 'string'),
      ROWS,
    );
    assert.equal(
      count('spgist', (e) => e['kind'] === 'leaf'),
      ROWS,
    );
  });
});
