import { DbError, errorMessage } from '../engine/errors.js';

/** A daemon's settings that an environment variable holds as a JSON object; {} without it. Throws USAGE_CONFIG. */
export function environmentSettings(variable: string): Record<string, unknown> {
  const text = process.env[variable];
  if (text === undefined || text === '') return {};
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new DbError(
      'USAGE_CONFIG',
      `environment variable ${variable} is not JSON: ${errorMessage(cause)}`,
      { cause },
    );
  }
}
