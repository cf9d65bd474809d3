/** Runs `start` with settings for the storage nodes that it starts; see AURORA_STORAGE_SETTINGS in storage/config.ts. */
export async function withStorageSettings<T>(
  settings: Record<string, unknown>,
  start: () => Promise<T>,
): Promise<T> {
  const before = process.env['AURORA_STORAGE_SETTINGS'];
  process.env['AURORA_STORAGE_SETTINGS'] = JSON.stringify(settings);
  try {
    return await start();
  } finally {
    if (before === undefined) delete process.env['AURORA_STORAGE_SETTINGS'];
    else process.env['AURORA_STORAGE_SETTINGS'] = before;
  }
}
