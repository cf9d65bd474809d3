import type { KnownCompute } from '../../src/engine/computes/types.js';
import { lsn } from '../../src/engine/lsn.js';

/** A replica that runs and was heard of just now, unless told otherwise. */
export function knownCompute(name: string, more: Partial<KnownCompute> = {}): KnownCompute {
  return {
    name,
    role: 'replica',
    state: 'running',
    epoch: 3,
    host: '127.0.0.1',
    port: 5432,
    receivedLsn: lsn(100),
    replayLsn: lsn(100),
    lagMs: 0,
    priority: 50,
    failover: true,
    xmin: 0,
    catalogXmin: 0,
    checkpointAfter: lsn(0),
    resigned: 'no',
    successor: '',
    ageMs: 10,
    connected: true,
    ...more,
  };
}
