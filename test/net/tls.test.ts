// TLS between daemons: both sides verify, a certificate speaks for its own member only, nothing falls back to plain text, and a man in the
// middle who holds a good certificate of the cluster can relay bytes but no proof.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { CertificateAuthority, describeCertificate, ensureMember } from '../../src/cluster/certificates.js';
import { isDbError } from '../../src/engine/errors.js';
import {
  TlsCredentials,
  isLoopback,
  requireTls,
  type TlsFiles,
  type TlsIdentity,
} from '../../src/net/tls.js';
import { FrameServers } from './frame-server.js';

describe('net: TLS', () => {
  const root = mkdtempSync(path.join(os.tmpdir(), 'oa-tls-'));
  const servers = new FrameServers();
  let ca: CertificateAuthority;
  let foreign: CertificateAuthority;
  const code = (expected: string) => (err: unknown) => isDbError(err, expected);

  before(async () => {
    ca = await CertificateAuthority.create(path.join(root, 'ca'), 'vol');
    foreign = await CertificateAuthority.create(path.join(root, 'foreign'), 'other');
  });
  afterEach(() => servers.close());
  after(() => rmSync(root, { recursive: true, force: true }));

  async function member(identity: TlsIdentity, from = ca, hosts = ['127.0.0.1']): Promise<TlsCredentials> {
    return TlsCredentials.load(await from.issue(identity, identity.startsWith('node:') ? hosts : []));
  }

  /** A certificate of `from`, of one who trusts the cluster's authority. */
  async function stranger(identity: TlsIdentity, from: CertificateAuthority): Promise<TlsCredentials> {
    const files = await from.issue(identity, ['127.0.0.1']);
    return TlsCredentials.load({ ...files, caFile: path.join(ca.dir, 'ca.crt') });
  }

  it('authenticate both ways, under TLS 1.3, with requests and HTTP', async () => {
    const { port, sessions, refused } = await servers.serve({ tls: await member('node:1') });
    const client = await servers.connect(port, { tls: await member('compute:primary'), nodeId: '1' });
    assert.deepEqual(await client.status(), { id: '1' });
    assert.equal(sessions[0]!.clientId, 'primary');
    const { context } = await member('tool');
    const request = https.get({ host: '127.0.0.1', port, path: '/metrics', ...context });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    assert.equal((response.socket as tls.TLSSocket).getProtocol(), 'TLSv1.3');
    response.resume();
    await once(response, 'close');
    assert.deepEqual(refused, []);
  });

  it('tell both sides which of them speaks TLS', async () => {
    const secure = await servers.serve({ tls: await member('node:1') });
    await assert.rejects(servers.connect(secure.port), code('NET_TLS_REQUIRED'));
    assert.equal(await secure.nextRefusal(), 'NET_TLS_REQUIRED');
    const plain = await servers.serve();
    await assert.rejects(servers.connect(plain.port, { tls: await member('compute:primary') }), code('NET_TLS_NOT_SPOKEN')); // prettier-ignore
    assert.equal(await plain.nextRefusal(), 'NET_TLS_NOT_SPOKEN');
  });

  it('never fall back: a client with a certificate sends nothing in plain text, whatever the other side says', async () => {
    const heard: Buffer[] = [];
    const bait = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (bytes) => {
        heard.push(bytes);
        socket.end('HTTP/1.1 426 Upgrade Required\r\nX-Aurora-Code: NET_TLS_NOT_SPOKEN\r\n\r\n');
      });
    });
    bait.listen(0, '127.0.0.1');
    await once(bait, 'listening');
    servers.defer(() => void bait.close());
    const { port } = bait.address() as net.AddressInfo;
    await assert.rejects(servers.connect(port, { tls: await member('tool') }), code('NET_TLS_NOT_SPOKEN'));
    assert.equal(Buffer.concat(heard)[0], 0x16, 'a TLS handshake and nothing else');
    assert.ok(!Buffer.concat(heard).includes('HTTP/1.1'));
  });

  it('refuse TLS below 1.3', async () => {
    const { port, nextRefusal } = await servers.serve({ tls: await member('node:1') });
    const { context } = await member('tool');
    const socket = tls.connect({ ...context, host: '127.0.0.1', port, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }); // prettier-ignore
    await assert.rejects(once(socket, 'secureConnect'), { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
    assert.equal(await nextRefusal(), 'NET_TLS_FAILED');
  });

  it("refuse a client without a certificate, with another authority's, and one that names nobody", async () => {
    const { port, nextRefusal, sessions } = await servers.serve({ tls: await member('node:1') });
    const bare = tls.connect({ host: '127.0.0.1', port, ca: readFileSync(path.join(ca.dir, 'ca.crt')) });
    bare.resume();
    await once(bare, 'close');
    assert.equal(await nextRefusal(), 'NET_TLS_CERTIFICATE');
    const alien = await stranger('compute:primary', foreign);
    await assert.rejects(servers.connect(port, { tls: alien }), code('NET_TLS_CERTIFICATE'));
    assert.equal(await nextRefusal(), 'NET_TLS_CERTIFICATE');
    const nobody = TlsCredentials.load(await ca.issue('' as TlsIdentity, ['127.0.0.1']));
    await assert.rejects(servers.connect(port, { tls: nobody }), code('NET_TLS_IDENTITY'));
    assert.equal(await nextRefusal(), 'NET_TLS_IDENTITY');
    assert.equal(sessions.length, 0);
  });

  it('refuse a certificate that speaks for another member than it is of', async () => {
    const { port, nextRefusal, sessions } = await servers.serve({ tls: await member('node:1') });
    const node3 = await member('node:3');
    await assert.rejects(servers.connect(port, { tls: node3, role: 'peer', clientId: '2' }), code('NET_TLS_IDENTITY')); // prettier-ignore
    assert.equal(await nextRefusal(), 'NET_TLS_IDENTITY');
    await assert.rejects(servers.connect(port, { tls: node3, role: 'compute' }), code('NET_TLS_IDENTITY'));
    await assert.rejects(servers.connect(port, { tls: await member('tool') }), code('NET_TLS_IDENTITY'));
    assert.equal(sessions.length, 0);
    await servers.connect(port, { tls: node3, role: 'peer', clientId: '3' });
    await servers.connect(port, { tls: node3, role: 'tool', clientId: 'status' });
    assert.deepEqual(sessions.map((s) => `${s.role} ${s.clientId}`), ['peer 3', 'tool status']); // prettier-ignore
  });

  it('refuse a node with the certificate of another node, of another authority, of another address', async () => {
    const tool = await member('tool');
    const asTool = { tls: tool, role: 'tool' } as const;
    const imposter = await servers.serve({ tls: await member('node:2') }); // says that it is node 1
    await assert.rejects(
      servers.connect(imposter.port, { ...asTool, nodeId: '1' }),
      code('NET_TLS_IDENTITY'),
    );
    await assert.rejects(servers.connect(imposter.port, asTool), code('NET_TLS_IDENTITY'));
    const alien = await servers.serve({ tls: await stranger('node:1', foreign) });
    await assert.rejects(servers.connect(alien.port, asTool), code('NET_TLS_CERTIFICATE'));
    const moved = await servers.serve({ tls: await member('node:1', ca, ['192.0.2.1']) });
    await assert.rejects(servers.connect(moved.port, asTool), code('NET_TLS_IDENTITY'));
    const client = await servers.serve({ tls: await member('compute:primary') }); // no server's certificate
    await assert.rejects(servers.connect(client.port, asTool), code('NET_TLS_CERTIFICATE'));
  });

  it('bind the proof to the connection: a man in the middle with a good certificate can relay it to nobody', async () => {
    // Node 3 fell into wrong hands, and sits where node 1 is dialled. It holds a certificate that names every node, and passes all bytes on.
    const honest = await servers.serve({ tls: await member('node:1') });
    const evil = await member('node:1');
    const relay = tls.createServer({ ...evil.context, requestCert: true }, (inner) => {
      const outer = tls.connect({ ...evil.context, host: '127.0.0.1', port: honest.port, checkServerIdentity: () => undefined }); // prettier-ignore
      inner.pipe(outer).pipe(inner);
      for (const end of [inner, outer]) end.on('error', () => (inner.destroy(), outer.destroy()));
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    servers.defer(() => void relay.close());
    const { port } = relay.address() as net.AddressInfo;
    await assert.rejects(
      servers.connect(port, { tls: await member('tool'), role: 'tool' }),
      code('NET_AUTH'),
    );
    assert.equal(await honest.nextRefusal(), 'NET_AUTH');
    assert.equal(honest.sessions.length, 0);
  });

  it('a certificate that is renewed on disk is used by what runs already', async () => {
    const files = await ca.issue('node:1', ['127.0.0.1']);
    const credentials = TlsCredentials.load(files);
    const lookAgain = (): unknown => Object.assign(credentials, { checkedMs: -1e9 }); // the pause between looks at the files is over
    lookAgain();
    const { port } = await servers.serve({ tls: credentials });
    const shown = async (): Promise<string> => {
      const client = tls.connect({ ...(await member('tool')).context, host: '127.0.0.1', port });
      await once(client, 'secureConnect');
      const { serialNumber } = client.getPeerCertificate();
      client.destroy();
      return serialNumber;
    };
    const before = await shown();
    await ca.issue('node:1', ['127.0.0.1']);
    lookAgain();
    assert.notEqual(await shown(), before);
    writeFileSync(files.certFile, 'torn', { mode: 0o600 });
    lookAgain();
    assert.throws(() => credentials.refresh(), code('USAGE_TLS'));
    assert.equal(credentials.identities[0], 'node:1'); // and goes on with what it had
  });

  it('refuse files that are open to others, do not belong together, or are out of their time', async () => {
    const files = await ca.issue('tool', []);
    const other = await foreign.issue('tool', []);
    chmodSync(files.keyFile, 0o644);
    assert.throws(() => TlsCredentials.load(files), code('USAGE_TLS'));
    chmodSync(files.keyFile, 0o600);
    const bad: [Partial<TlsFiles>, RegExp][] = [
      [{ keyFile: other.keyFile }, /is not the key of the certificate/],
      [{ certFile: path.join(root, 'absent') }, /cannot read/],
      [{ caFile: path.join(ca.dir, 'ca.key') }, /does not hold what it should/],
    ];
    for (const [wrong, message] of bad)
      assert.throws(() => TlsCredentials.load({ ...files, ...wrong }), (err: Error) => code('USAGE_TLS')(err) && message.test(err.message) && !/BEGIN|PRIVATE/.test(err.message)); // prettier-ignore
  });

  it('issue what is missing or near its end, keep what is good, and say so without the key of the authority', async () => {
    const dir = path.join(root, 'ensured');
    await CertificateAuthority.create(dir, 'vol');
    const files = await ensureMember(dir, 'node:1', ['127.0.0.1']);
    const first = readFileSync(files.certFile, 'utf8');
    await ensureMember(dir, 'node:1', ['127.0.0.1']);
    assert.equal(readFileSync(files.certFile, 'utf8'), first);
    await ensureMember(dir, 'node:1', ['127.0.0.1', '192.0.2.7']);
    assert.deepEqual(describeCertificate(files.certFile).hosts, ['127.0.0.1', '192.0.2.7']);
    rmSync(path.join(dir, 'ca.key'));
    await ensureMember(dir, 'node:1', ['127.0.0.1']);
    await assert.rejects(ensureMember(dir, 'node:2', ['127.0.0.1']), code('CLUSTER_NO_CA'));
  });

  it('know which addresses only this machine can reach', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost', '::ffff:127.0.0.1']) {
      assert.ok(isLoopback(host), host);
      requireTls('host', host, null, false);
    }
    for (const host of [
      '0.0.0.0',
      '::',
      '10.0.0.1',
      '127.evil.example',
      '128.0.0.1',
      'localhost.example',
      '',
    ]) {
      assert.ok(!isLoopback(host), host);
      assert.throws(() => requireTls('host', host, null, false), code('USAGE_TLS_REQUIRED'));
      requireTls('host', host, null, true);
    }
  });
});
