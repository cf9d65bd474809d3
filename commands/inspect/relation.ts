import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { defaultServer } from '../../src/cluster/default-server.js';
import { terminalProgress } from '../../src/cluster/progress.js';
import { promptPassword } from '../../src/cluster/prompt.js';
import { lsnFlag } from '../../src/inspect/flags.js';
import { relationText } from '../../src/inspect/relation-print.js';
import { relationReport, type RelationReport } from '../../src/inspect/relation-report.js';
import { resolveRelation } from '../../src/inspect/relation.js';

export default class InspectRelation extends AuroraCommand {
  static override summary =
    'Show what storage keeps of a relation: forks, blocks, versions and bytes per node.';
  static override description = `Versions are whole pages (images) and changes upon them, from the LSN asked for back to where the node's history begins; bytes are theirs before
compression. Every page is asked for on every node, which for a large relation takes a while. RELATION is a name, which PostgreSQL resolves, or SPC/DB/REL in
numbers, for which running storage nodes are enough.`;
  static override examples = [
    '<%= config.bin %> inspect relation -D ./aurora-data --db mydb public.accounts',
    '<%= config.bin %> inspect relation -D ./aurora-data 1663/5/1259 --node 1 --json',
  ];
  static override args = {
    relation: Args.string({
      ignoreStdin: true,
      description: 'name of a table, index or sequence, or SPC/DB/REL',
      required: true,
    }),
  };
  static override flags = {
    ...clusterFlag,
    lsn: lsnFlag({ description: 'as of this LSN (default: now)' }),
    db: Flags.string({ description: 'database of the relation', env: 'PGDATABASE', helpValue: 'NAME' }),
    node: Flags.string({ description: 'only on this storage node', helpValue: 'N' }),
  };
  static override enableJsonFlag = true;

  async run(): Promise<RelationReport> {
    const { args, flags } = await this.parse(InspectRelation);
    const root = this.requireCluster(flags.pgdata);
    const server = defaultServer(root)!;
    const relation = await resolveRelation(args.relation, server, flags.db, () =>
      promptPassword('Password: '),
    );
    const progress = terminalProgress((line) => this.note(line));
    const onProgress = (done: number, total: number): void =>
      progress.report({ what: 'counting versions', done, total, unit: 'pages' });
    const report = await relationReport(root, relation, { ...flags, onProgress }).finally(() =>
      progress.end(),
    );
    this.log(relationText(report, process.stdout.columns || 80));
    return report;
  }
}
