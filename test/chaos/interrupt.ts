/** A run that is interrupted takes its cluster with it. */
export function onInterrupt(cleanUp: () => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      console.error(`interrupted by ${signal}: ending the cluster`);
      void cleanUp().finally(() => process.exit(130));
    });
}
