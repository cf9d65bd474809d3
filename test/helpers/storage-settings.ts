/** Runs `start` with settings for the storage nodes that it starts; see AURORA_STORAGE_SETTINGS in storage/config.ts. */
export async function withStorageSettings<T>(
  settings: Record<string, unknown>,
  start: () => Promise<T>,
): Promise<T> {
  return withEnvironment({ AURORA_STORAGE_SETTINGS: JSON.stringify(settings) }, start);
}

/** Runs `start` with these variables in the environment of the processes that it starts; one at a time. */
export async function withEnvironment<T>(
  variables: Record<string, string>,
  start: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    return await start();
  } finally {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  }
}
