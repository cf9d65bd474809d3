import path from 'node:path';

/** Control socket of a compute daemon, in the folder of the unix sockets. */
export function controlSocketPath(socketDir: string, computeName: string): string {
  return path.join(socketDir, `.s.aurora-${computeName}`);
}
