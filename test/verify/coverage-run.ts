/** Runs one scenario against a real PostgreSQL: which records each step made it write, and how they compare. */
import { recordTypeName } from '../../src/engine/redo/index.js';
import { WalReader } from '../../src/engine/wal/reader.js';
import { openWalDirectory } from '../../src/engine/wal/segments.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import { openSourceCluster } from '../../src/storage/import.js';
import { VolumeCheck } from '../engine/effects/volume-check.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { runAndReplay } from '../helpers/redo-run.js';
import { insertLsn } from '../helpers/redo-steps.js';
import type { Scenario } from './coverage-scenarios.js';

export interface TypeCoverage {
  /** Records. */
  seen: number;
  /** Block references compared with an image that was not applied itself. */
  compared: number;
  mismatched: number;
  /** Steps with such a record after which a volume was compared with the server's files. */
  checks: number;
  /** Records by step. */
  readonly steps: Map<string, number>;
}

export class Coverage {
  readonly types = new Map<string, TypeCoverage>();
  /** Everything that was not as PostgreSQL has it, in words. */
  readonly failures: string[] = [];

  of(type: string): TypeCoverage {
    let found = this.types.get(type);
    if (!found)
      this.types.set(type, (found = { seen: 0, compared: 0, mismatched: 0, checks: 0, steps: new Map() }));
    return found;
  }

  async run(scenario: Scenario): Promise<void> {
    if (!scenario.compare.includes('pages')) return this.withoutPages(scenario);
    const ctx = { walLogHints: scenario.settings['wal_log_hints'] === 'on', checksums: false };
    const { report, files } = await runAndReplay({ ...scenario.settings }, ctx, (server) =>
      this.steps(server, scenario),
    );
    for (const [type, count] of report.types) {
      const total = this.of(type);
      total.compared += count.compared;
      total.mismatched += count.mismatched;
      if (count.results.notfound > 0) this.failures.push(`${type} met a page that was never written`);
    }
    this.failures.push(...report.mismatches, ...files.differences);
  }

  private async withoutPages(scenario: Scenario): Promise<void> {
    const server = await startPlainPostgres({ settings: { ...scenario.settings } });
    try {
      await this.steps(server, scenario);
    } finally {
      await server.destroy();
    }
  }

  private async steps(server: PlainPostgres, scenario: Scenario): Promise<void> {
    const volume = scenario.compare.includes('volume');
    await server.stop();
    const check = volume ? await VolumeCheck.begin(server.dataDir) : null;
    await server.start();
    try {
      for (const step of scenario.steps) {
        const begun = Date.now();
        const from = await insertLsn(server);
        await step.run(server);
        await server.stop();
        const met = new Set<string>();
        const count = (rec: WalRecord): void => {
          met.add(this.count(rec, step.name));
        };
        if (check) {
          const found = await check.compare(server.dataDir, count);
          this.failures.push(...found.map((text) => `${scenario.name}, after ${step.name}: ${text}`));
          for (const type of met) this.of(type).checks++;
        } else {
          const wal = await openWalDirectory(server.dataDir);
          const { lsn: end } = await openSourceCluster(server.dataDir);
          for await (const rec of new WalReader(wal, { start: from, end }).records()) count(rec);
          await wal.close();
        }
        await server.start();
        console.log(`  ${step.name.padEnd(28)} ${((Date.now() - begun) / 1000).toFixed(1)} s`);
      }
    } finally {
      await check?.close();
    }
  }

  /** Returns the record's type. */
  private count(rec: WalRecord, step: string): string {
    const type = recordTypeName(rec);
    const total = this.of(type);
    total.seen++;
    total.steps.set(step, (total.steps.get(step) ?? 0) + 1);
    return type;
  }
}
