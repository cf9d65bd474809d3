import assert from 'node:assert/strict';
import { isRoutes, routed } from '../../src/net/routes.js';
import { storageConfig } from '../../src/storage/config.js';
import { isDbError } from '../../src/engine/errors.js';

describe('routes', () => {
  const members = [
    { id: '1', host: 'a', port: 1, voter: true },
    { id: 'constructor', host: 'b', port: 2, voter: false },
  ];

  it('replace the address of a member that they name, and nothing else of it', () => {
    assert.deepEqual(routed(members, { 1: { host: 'proxy', port: 9 } }), [
      { id: '1', host: 'proxy', port: 9, voter: true },
      members[1],
    ]);
    assert.deepEqual(routed(members, {}), members);
  });

  it('are addresses by id', () => {
    const isPort = (value: unknown): boolean => typeof value === 'number';
    assert.ok(isRoutes({}, isPort));
    assert.ok(isRoutes({ 1: { host: 'a', port: 1 } }, isPort));
    for (const wrong of [null, [], 'a', { 1: null }, { 1: { host: '', port: 1 } }, { 1: { host: 'a', port: '1' } }])
      assert.equal(isRoutes(wrong, isPort), false, JSON.stringify(wrong)); // prettier-ignore
  });

  it('off the loopback interface need TLS, as every address does', () => {
    const input = { volumeId: 'v', nodeId: 'n', dir: '/d', secretFile: '/s' };
    const refused = (routes: unknown): void =>
      assert.throws(
        () => storageConfig({ ...input, routes: routes as Record<string, never> }),
        (err) => isDbError(err, 'USAGE_CONFIG') || isDbError(err, 'USAGE_TLS_REQUIRED'),
      );
    refused({ 2: { host: '192.0.2.1', port: 1 } });
    refused({ 2: { host: '127.0.0.1', port: -1 } });
    assert.deepEqual(storageConfig(input).routes, {});
  });
});
