import { Gauge, type Registry } from 'prom-client';
import type { TlsCredentials } from './tls.js';

/** When the certificate in use ends: something to be alerted of in time. Nothing is added without TLS. */
export function addTlsMetrics(registry: Registry, prefix: string, tls: TlsCredentials | null): void {
  if (!tls) return;
  new Gauge({
    name: `${prefix}tls_certificate_not_after_timestamp_seconds`,
    help: 'End of the TLS certificate in use',
    registers: [registry],
    collect() {
      this.set(tls.notAfter.getTime() / 1000);
    },
  });
}
