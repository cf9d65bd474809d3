import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { lsnFlag, outputWriter, untilInterrupted } from '../../src/inspect/flags.js';
import { dumpWal, type DumpOptions } from '../../src/inspect/wal-dump.js';
import { rmgrList, walFilter } from '../../src/inspect/wal-filter.js';
import { openWalInput, type WalInput } from '../../src/inspect/wal-input.js';
import type { WalSummary } from '../../src/inspect/wal-summary.js';

export default class InspectWal extends AuroraCommand {
  static override summary = 'Print the log, one line a record, as pg_waldump does.';
  static override description = `Without PATH it prints what is committed in the log of the running volume that -D or AURORA_HOME names.
PATH may be the folder of a storage node or the log folder in it (running or not; nothing is changed), or a pg_wal folder, a
data directory or one segment file of any PostgreSQL 18.

With --verify it prints no records, but replays them and compares each page with the image of it that PostgreSQL put into the record, which
it does with wal_consistency_checking = all. Replay begins with the pages of --base, a copy of the data directory made while the server
was stopped; without that, with the pages of the volume or of the stopped node that the log belongs to; else with nothing: then the first image of
each page is believed. It prints how many records of each type there were and how many pages were compared, and of each mismatch
both pages and the record. All records are replayed; --start, --end, --limit and the filters say which are judged.

Exit status: 0 at the end that was asked for or at the end of the committed log, 1 when the log ends at bytes that are no
record (a torn tail, or simply the end of what PostgreSQL has written). With --verify: 0 when all pages compared are as PostgreSQL made
them, 1 when one is not, a record cannot be decoded or replayed, or there was nothing to compare.`;
  static override examples = [
    '<%= config.bin %> inspect wal -D ./aurora-data -n 20',
    '<%= config.bin %> inspect wal -D ./aurora-data --follow --rmgr Heap',
    '<%= config.bin %> inspect wal -D ./aurora-data --stats=record',
    '<%= config.bin %> inspect wal -D ./aurora-data --chart',
    '<%= config.bin %> inspect wal -D ./aurora-data --tps',
    '<%= config.bin %> inspect wal ./aurora-data/storage/1 --start 0/1A00000 --json',
    '<%= config.bin %> inspect wal /var/lib/postgresql/18/main/pg_wal/000000010000000000000001',
    '<%= config.bin %> inspect wal --verify --base /backup/stopped /var/lib/postgresql/18/main/pg_wal',
  ];
  static override args = {
    path: Args.string({
      ignoreStdin: true,
      description: "storage node's folder, pg_wal folder or segment file",
    }),
  };
  static override flags = {
    ...clusterFlag,
    start: lsnFlag({ char: 's', description: 'start at this LSN (default: the first complete record)' }),
    end: lsnFlag({ char: 'e', description: 'stop at this LSN' }),
    rmgr: Flags.string({
      char: 'r',
      description: 'only records of this resource manager; may be repeated; "list" lists them',
      helpValue: 'NAME',
      multiple: true,
      multipleNonGreedy: true,
    }),
    relation: Flags.string({
      char: 'R',
      description: 'only records that modify blocks in this relation',
      helpValue: 'SPC/DB/REL',
    }),
    block: Flags.integer({
      char: 'B',
      description: 'with --relation, only records that modify block N',
      helpValue: 'N',
      min: 0,
      max: 0xfffffffe,
    }),
    fork: Flags.string({
      char: 'F',
      description: 'only records that modify blocks in this fork: main, fsm, vm, init',
      helpValue: 'FORK',
    }),
    xid: Flags.integer({
      char: 'x',
      description: 'only records of this transaction',
      helpValue: 'XID',
      min: 0,
      max: 0xffffffff,
    }),
    fullpage: Flags.boolean({ char: 'w', description: 'only records with a full page image' }),
    limit: Flags.integer({ char: 'n', description: 'number of records to show', helpValue: 'N', min: 1 }),
    follow: Flags.boolean({ char: 'f', description: 'keep waiting for more at the end of the log' }),
    stats: Flags.string({
      char: 'z',
      description: 'statistics instead of records, per resource manager or per record type',
      options: ['rmgr', 'record'],
      helpValue: 'record',
      exclusive: ['follow'],
    }),
    chart: Flags.boolean({
      description: 'bytes by record type (with --stats=rmgr: by resource manager) as a bar chart',
      exclusive: ['follow', 'verify', 'by-relation', 'tps'],
    }),
    'by-relation': Flags.boolean({
      description: 'records and bytes by the relation whose blocks they change',
      exclusive: ['follow', 'verify', 'stats', 'tps'],
    }),
    tps: Flags.boolean({
      description: 'transactions and bytes a second, by the time in the log',
      exclusive: ['follow', 'verify', 'stats'],
    }),
    quiet: Flags.boolean({ char: 'q', description: 'print no records, only errors' }),
    verify: Flags.boolean({
      description: 'replay the records and compare the pages with the images in them',
      exclusive: ['follow', 'stats'],
    }),
    base: Flags.string({
      description: 'with --verify, the data directory that the log was written upon, as it was before',
      helpValue: 'DATADIR',
      dependsOn: ['verify'],
    }),
    json: Flags.boolean({ description: 'one JSON object a line; one in all with the tables and --verify' }),
  };

  async run(): Promise<void> {
    // pg_waldump's --stats has an optional value, which the flag parser does not know.
    this.argv = this.argv.map((word) => (word === '--stats' || word === '-z' ? '--stats=rmgr' : word));
    const { args, flags } = await this.parse(InspectWal);
    if (flags.rmgr?.includes('list')) return this.log(rmgrList());
    const matches = walFilter({ ...flags, rmgrs: flags.rmgr, fullPage: flags.fullpage });
    const input = await openWalInput(
      args.path,
      args.path === undefined ? this.requireCluster(flags.pgdata) : undefined,
    );
    try {
      await untilInterrupted(async (signal) => {
        const given = {
          ...flags,
          matches,
          signal,
          write: outputWriter(process.stdout),
          note: (line: string): void => this.note(line),
        };
        if (flags.verify) return verify(input, given);
        const stats = flags.stats as 'rmgr' | 'record' | undefined;
        return dumpWal(input, { ...given, stats, summary: await chosenSummary(flags) });
      });
    } finally {
      await input.source.close?.();
    }
  }
}

type Given = Pick<DumpOptions, 'start' | 'end' | 'matches' | 'quiet' | 'json' | 'signal' | 'write' | 'note'>;

/** --verify. What it needs is loaded only for it: redo and the page store are most of the program. */
async function verify(input: WalInput, given: Given & { base?: string | undefined }): Promise<void> {
  const { isVerified, verifyWal } = await import('../../src/inspect/verify.js');
  const { verifyJson, verifyText } = await import('../../src/inspect/verify-print.js');
  const { terminalProgress } = await import('../../src/cluster/progress.js');
  const progress = terminalProgress(given.note);
  const onProgress = (done: number, total: number | null): void =>
    progress.report({ what: 'verifying', done: kB(done), total: total && kB(total), unit: 'kB of log' });
  const report = await verifyWal(input, { ...given, onProgress }).finally(() => progress.end());
  if (!isVerified(report)) process.exitCode = 1;
  await given.write(
    given.json ? `${JSON.stringify(verifyJson(report), null, 2)}\n` : verifyText(report, given.quiet),
  );
}

async function chosenSummary(flags: {
  chart: boolean;
  'by-relation': boolean;
  tps: boolean;
  stats?: string;
}): Promise<WalSummary | undefined> {
  if (!flags.tps && !flags['by-relation'] && !flags.chart) return undefined;
  const { walSummary } = await import('../../src/inspect/wal-summary.js');
  if (flags.tps) return walSummary('tps', 'record');
  if (flags['by-relation']) return walSummary('relation', 'record');
  return walSummary('chart', flags.stats === 'rmgr' ? 'rmgr' : 'record');
}

function kB(bytes: number): number {
  return Math.floor(bytes / 1024);
}
