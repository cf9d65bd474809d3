// The templates for systemd and compose hold together: they parse, systemd has nothing to say against them, each command and flag that they name
// exists, each daemon that they start is in the package, and their configurations are ones that the daemons take.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { load, YAML11_SCHEMA } from 'js-yaml';
import { loadComputeConfig } from '../../src/compute/config.js';
import { loadStorageConfig } from '../../src/storage/config.js';
import { NODE_FLAGS, STORAGE_ENVIRONMENT, type DaemonKind } from '../../src/cluster/daemon-process.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SYSTEMD = path.join(ROOT, 'templates/systemd');
const COMPOSE = path.join(ROOT, 'templates/compose');

interface Service {
  command?: string[];
  healthcheck?: { test: string[] };
  volumes?: string[];
}

/** What a unit says, by key; a key may come more than once. */
function unit(file: string): [string, string][] {
  return readFileSync(path.join(SYSTEMD, file), 'utf8')
    .split('\n')
    .filter((line) => /^\w+=/.test(line))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
}

describe('templates', () => {
  const units = readdirSync(SYSTEMD);

  it('name only commands and flags that exist, and daemons that are in the package', () => {
    const manifest = JSON.parse(readFileSync(path.join(ROOT, 'oclif.manifest.json'), 'utf8')) as {
      commands: Record<string, { flags: Record<string, { char?: string }> }>;
    };
    const lines = units.flatMap((file) => unit(file).filter(([key]) => /^Exec/.test(key)).map(([, value]) => value)); // prettier-ignore
    const { services } = load(readFileSync(path.join(COMPOSE, 'compose.yaml'), 'utf8'), {
      schema: YAML11_SCHEMA,
    }) as {
      services: Record<string, Service>;
    };
    for (const { command } of Object.values(services)) lines.push(command!.join(' '));
    let commands = 0;
    let daemons = 0;
    for (const line of lines) {
      const daemon = /openaurora\/(bin\/daemon\.js) (storage|compute) /.exec(line);
      if (daemon) {
        daemons += 1;
        assert.ok(existsSync(path.join(ROOT, daemon[1]!)), line);
        const flags = NODE_FLAGS[daemon[2] as DaemonKind];
        assert.ok(
          flags.every((flag) => line.includes(` ${flag} `)),
          line,
        );
      }
      const words = /\/aurora (.*)$/.exec(line)?.[1]?.split(' ');
      if (!words) continue;
      commands += 1;
      const flags = manifest.commands[words[0]!]?.flags;
      assert.ok(flags, `no command aurora ${words[0]}`);
      for (const word of words.slice(1).filter((w) => w.startsWith('-'))) {
        const known = word.startsWith('--')
          ? flags[word.slice(2)]
          : Object.values(flags).find(({ char }) => char === word.slice(1));
        assert.ok(known, `aurora ${words[0]} has no ${word}`);
      }
    }
    assert.deepEqual([commands, daemons], [3, 6]);
  });

  it('give storage nodes the environment that aurora start gives them', () => {
    const [[, line] = []] = unit('openaurora-storage.service').filter(([key]) => key === 'Environment');
    assert.deepEqual(
      Object.fromEntries(line!.split(' ').map((word) => word.split('='))),
      STORAGE_ENVIRONMENT,
    );
    const { services } = load(readFileSync(path.join(COMPOSE, 'compose.yaml'), 'utf8'), {
      schema: YAML11_SCHEMA,
    }) as { services: Record<string, { environment?: unknown }> };
    for (const id of ['1', '2', '3'])
      assert.deepEqual(services[`storage-${id}`]!.environment, STORAGE_ENVIRONMENT);
  });

  it('units are hardened, restart, and stop with SIGTERM', () => {
    for (const file of units) {
      const said = new Map(unit(file));
      for (const [key, value] of [
        ['NoNewPrivileges', 'yes'],
        ['ProtectSystem', 'strict'],
        ['KillSignal', 'SIGTERM'],
        ['Restart', 'on-failure'],
        ['LimitNOFILE', '65536'],
      ])
        assert.equal(said.get(key!), value, `${file}: ${key}`);
      assert.match(said.get('Type')!, /^(exec|forking)$/);
      assert.notEqual(said.get('User'), 'root');
    }
  });

  it('systemd-analyze verify finds nothing in them', function () {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'oa-units-'));
    try {
      // Programs that are not installed here would be found missing: a program that is stands in for them.
      for (const file of units)
        writeFileSync(path.join(dir, file), readFileSync(path.join(SYSTEMD, file), 'utf8').replace(/^(Exec\w+)=\S+/gm, '$1=/bin/true').replaceAll('openaurora', 'root')); // prettier-ignore
      const { error, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units.map((file) => path.join(dir, file))], { encoding: 'utf8' }); // prettier-ignore
      if (error) return; // no systemd on this machine: the other tests read the units too
      const about = (stdout + stderr).split('\n').filter((line) => line.includes(dir) || /^(openaurora|root)/.test(line)); // prettier-ignore
      assert.deepEqual(about, []);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('compose: each service has its own configuration, a health check, and no secret in it', () => {
    const text = readFileSync(path.join(COMPOSE, 'compose.yaml'), 'utf8');
    const { services } = load(text, { schema: YAML11_SCHEMA }) as { services: Record<string, Service> };
    assert.deepEqual(Object.keys(services), ['storage-1', 'storage-2', 'storage-3', 'compute']);
    for (const [name, { command, healthcheck, volumes }] of Object.entries(services)) {
      assert.equal(command!.at(-1), `/config/${name}.json`);
      const port = /127\.0\.0\.1:(\d+)\/healthz/.exec(healthcheck!.test.join(' '))![1];
      const file = path.join(COMPOSE, 'config', `${name}.json`);
      const config = name === 'compute' ? loadComputeConfig(file) : loadStorageConfig(file);
      assert.equal(String(config.metricsPort), port);
      assert.ok(config.tls, `${name} speaks TLS`);
      assert.ok(volumes!.includes('./secrets:/secrets:ro'));
    }
    assert.ok(!/PASSWORD|SECRET=/.test(text));
  });
});
