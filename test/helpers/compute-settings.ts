/** Runs `start` with settings for the compute that it starts; see AURORA_COMPUTE_SETTINGS in compute/config.ts. */
export async function withComputeSettings<T>(
  settings: Record<string, unknown>,
  start: () => Promise<T>,
): Promise<T> {
  const before = process.env['AURORA_COMPUTE_SETTINGS'];
  process.env['AURORA_COMPUTE_SETTINGS'] = JSON.stringify(settings);
  try {
    return await start();
  } finally {
    if (before === undefined) delete process.env['AURORA_COMPUTE_SETTINGS'];
    else process.env['AURORA_COMPUTE_SETTINGS'] = before;
  }
}
