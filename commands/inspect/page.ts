import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { defaultServer } from '../../src/cluster/default-server.js';
import { promptPassword } from '../../src/cluster/prompt.js';
import { DbError } from '../../src/engine/errors.js';
import { formatLsn, parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { lsnFlag } from '../../src/inspect/flags.js';
import { diffPages, diffText, type PageDiff } from '../../src/inspect/page-diff.js';
import { formatPage } from '../../src/inspect/page-print.js';
import { pageReport, type PageReport } from '../../src/inspect/page-report.js';
import { resolveRelation } from '../../src/inspect/relation.js';
import { VolumeTool } from '../../src/inspect/volume.js';
import { parseFork } from '../../src/inspect/wal-filter.js';

export default class InspectPage extends AuroraCommand {
  static override summary =
    'Show one page of a relation as storage has it, at any LSN, and what it is built from.';
  static override description = `Prints the decoded page header, line pointers and tuples (of heaps, B-trees, sequences and visibility maps), and the page's
version chain: the stored image and the log records on top of it. RELATION is a name, which PostgreSQL resolves, or
SPC/DB/REL in numbers, for which one running storage node is enough.`;
  static override examples = [
    '<%= config.bin %> inspect page -D ./aurora-data --db mydb public.accounts 0',
    '<%= config.bin %> inspect page -D ./aurora-data --db mydb accounts_pkey 1 --json',
    '<%= config.bin %> inspect page -D ./aurora-data 1663/5/1259 0 --lsn 0/1A2B3C4',
    '<%= config.bin %> inspect page -D ./aurora-data --db mydb accounts 0 --diff 0/1A2B3C4 0/1A2C000',
  ];
  static override args = {
    relation: Args.string({
      ignoreStdin: true,
      description: 'name of a table, index or sequence, or SPC/DB/REL',
      required: true,
    }),
    block: Args.string({ ignoreStdin: true, description: 'block number, from 0', required: true }),
  };
  static override flags = {
    ...clusterFlag,
    lsn: lsnFlag({ description: 'as of this LSN (default: now)' }),
    diff: Flags.string({
      description: 'what changed between two LSNs: LSN1 LSN2 (default for LSN2: now)',
      helpValue: 'LSN1 LSN2',
      exclusive: ['lsn'],
    }),
    db: Flags.string({ description: 'database of the relation', env: 'PGDATABASE', helpValue: 'NAME' }),
    fork: Flags.string({
      char: 'F',
      description: 'main, fsm, vm or init',
      helpValue: 'FORK',
      default: 'main',
    }),
  };
  static override enableJsonFlag = true;

  async run(): Promise<PageReport | PageDiff> {
    this.argv = joinDiff(this.argv);
    const { args, flags } = await this.parse(InspectPage);
    const root = this.requireCluster(flags.pgdata);
    const block = blockNumber(args.block);
    const fork = parseFork(flags.fork);
    const diff = flags.diff === undefined ? null : diffRange(flags.diff);
    const volume = await VolumeTool.open(root);
    try {
      const relation = await resolveRelation(args.relation, defaultServer(root)!, flags.db, () =>
        promptPassword('Password: '),
      );
      if (diff !== null) {
        const { from, to } = diff;
        const before = await pageReport(volume, relation, fork, block, from);
        const changes = diffPages(before, await pageReport(volume, relation, fork, block, to));
        this.log(diffText(changes));
        return changes;
      }
      const report = await pageReport(volume, relation, fork, block, flags.lsn);
      this.log(formatPage(report));
      return report;
    } finally {
      volume.close();
    }
  }
}

const LSN = /^[0-9a-f]{1,8}\/[0-9a-f]{1,8}$/i;

/** `--diff LSN1 LSN2`: two values, which the flag parser does not know; it gets `LSN1..LSN2`. */
function joinDiff(argv: readonly string[]): string[] {
  const at = argv.indexOf('--diff');
  if (at < 0 || !LSN.test(argv[at + 1] ?? '') || !LSN.test(argv[at + 2] ?? '')) return [...argv];
  return [...argv.slice(0, at + 1), `${argv[at + 1]}..${argv[at + 2]}`, ...argv.slice(at + 3)];
}

/** `LSN1..LSN2` or `LSN1`. Throws USAGE_LSN. */
function diffRange(text: string): { from: Lsn; to: Lsn | undefined } {
  const [first, second] = text.split('..');
  const from = parseLsn(first!);
  const to = second === undefined ? undefined : parseLsn(second);
  if (to !== undefined && to < from)
    throw new DbError('USAGE_LSN', `LSN ${formatLsn(to)} is before ${formatLsn(from)}`);
  return { from, to };
}

function blockNumber(text: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (value <= 0xfffffffe) return value;
  throw new DbError('USAGE_BLOCK', `invalid block number: "${text}"`);
}
