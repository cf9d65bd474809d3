/** psql with this process's own streams, for tests that need a real process. */
import { processIo } from '../../src/psql/io.js';
import { runPsql } from '../../src/psql/main.js';

process.exitCode = await runPsql(process.argv.slice(2), processIo(), () => null);
process.stdin.destroy();
