import crypto from 'node:crypto';

/** PostgreSQL's own default, scram_iterations. */
const ITERATIONS = 4096;

/** A SCRAM-SHA-256 verifier as pg_authid stores it: the server never gets to see the password. RFC 5803, RFC 7677. */
export function scramVerifier(password: string, salt: Buffer = crypto.randomBytes(16)): string {
  const hmac = (key: Buffer, text: string): Buffer => crypto.createHmac('sha256', key).update(text).digest();
  const salted = crypto.pbkdf2Sync(password.normalize('NFKC'), salt, ITERATIONS, 32, 'sha256');
  const storedKey = crypto.createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64');
  const serverKey = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
