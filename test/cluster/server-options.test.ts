/** Server options as pg_ctl takes them; settings that the cluster rests on are refused however they are written. */
import assert from 'node:assert/strict';
import { FIXED_SETTINGS, parseServerOptions } from '../../src/cluster/server-options.js';
import { postgresSettings } from '../../src/compute/pg-settings.js';
import { computeDirs } from '../../src/compute/cluster-dirs.js';
import type { ComputeConfig } from '../../src/compute/config.js';
import { isDbError } from '../../src/engine/errors.js';

const refused = (text: string): void =>
  assert.throws(
    () => parseServerOptions(text),
    (err) => isDbError(err, 'USAGE_BAD_OPTION') && err.reaction === 'usage',
    text,
  );

describe('server options', () => {
  it('takes -c name=value, -cname=value and --name=value', () => {
    assert.deepEqual(parseServerOptions('-c work_mem=64MB -cio_workers=3 --wal-buffers=1MB'), {
      work_mem: '64MB',
      io_workers: '3',
      wal_buffers: '1MB',
    });
    assert.deepEqual(parseServerOptions(undefined), {});
    assert.deepEqual(parseServerOptions('  '), {});
  });

  it('keeps blanks and "=" within quotes, and empty values', () => {
    assert.deepEqual(parseServerOptions(`-c "log_line_prefix=%m [%p] " -c search_path='"$user", public'`), {
      log_line_prefix: '%m [%p] ',
      search_path: '"$user", public',
    });
    assert.deepEqual(parseServerOptions('-c shared_preload_libraries='), { shared_preload_libraries: '' });
    assert.deepEqual(parseServerOptions('-c my.option=a=b'), { 'my.option': 'a=b' });
  });

  it('refuses what is not a setting', () => {
    for (const text of ['work_mem=1', '-c', '-c work_mem', '-c =1', '--', '--=x', '-D /x', '-c a=1 stray'])
      refused(text);
  });

  it('refuses every fixed setting in any spelling, and the port with a hint', () => {
    for (const name of FIXED_SETTINGS) {
      refused(`-c ${name}=x`);
      refused(`--${name.replaceAll('_', '-')}=x`);
      refused(`-c ${name.toUpperCase()}=x`);
    }
    assert.throws(
      () => parseServerOptions('-c port=1'),
      (err) => isDbError(err, 'USAGE_BAD_OPTION') && /--port/.test(err.hint ?? ''),
    );
  });

  it('nothing that the daemon sets itself is accepted and then ignored', () => {
    const config = {
      settings: {},
      host: '127.0.0.1',
      port: 5432,
      socketDir: '/s',
    } as unknown as ComputeConfig;
    for (const name of Object.keys(postgresSettings(config, computeDirs('/d', '/s', 'primary'))))
      refused(`-c ${name}=x`);
  });
});
