/** What psql lacks: \aurora, the cluster on one screen; \lsn, where the log stands; \asof. */
import { tableOf } from '../print/types.js';
import { resultTable } from '../send.js';
import { execute, type RowsResult } from '../run.js';
import type { Session } from '../session.js';
import type { SlashCommand, SlashContext, SlashResult } from '../slash.js';
import { errorMessage, isDbError } from '../../engine/errors.js';

/** The state of a cluster as `aurora status` knows it, as far as it is shown here. */
export interface ClusterState {
  directory: string;
  volume: {
    id: string;
    copies: number;
    writeQuorum: number;
    readQuorum: number;
    epoch: number | null;
    commitLsn: string | null;
    appliedLsn: string | null;
  };
  storage: {
    id: string;
    host: string;
    port: number;
    state: string;
    voter: boolean | null;
    scl: string | null;
    applied: string | null;
    problem: string | null;
  }[];
  computes: {
    name: string;
    role: string;
    state: string;
    host: string;
    port: number;
    commitLsn: string | null;
    problem: string | null;
  }[];
}

async function runAurora({ session }: SlashContext): Promise<SlashResult> {
  if (!session.cluster) return showServer(session);
  let state: ClusterState;
  try {
    state = await session.cluster();
  } catch (err) {
    if (!isDbError(err)) throw err;
    session.error(`\\aurora: ${errorMessage(err)}`);
    return 'error';
  }
  await showCluster(session, state);
  return (await showLsn(session)) ? 'done' : 'error';
}

/** Without AURORA_HOME: what the connection itself can tell. */
async function showServer(session: Session): Promise<SlashResult> {
  if (!(await showLsn(session))) return 'error';
  session.say("Set AURORA_HOME to the cluster's directory to see its storage nodes and computes here.\n");
  return 'done';
}

async function showCluster(
  session: Session,
  { volume, storage, computes, directory }: ClusterState,
): Promise<void> {
  const show = async (title: string, headers: string[], rows: (string | null)[][]): Promise<void> => {
    const cells = rows.map((row) => row.map((cell) => cell ?? ''));
    const table = tableOf(headers, headers.map((header) => (header === 'Port' ? 'r' : 'l')), cells); // prettier-ignore
    await session.printTable({ ...table, title, defaultFooter: false });
  };
  await show(
    `Cluster in ${directory}`,
    ['Volume', 'Copies', 'Write quorum', 'Read quorum', 'Epoch', 'Commit LSN', 'Applied LSN'],
    [
      [
        volume.id,
        String(volume.copies),
        String(volume.writeQuorum),
        String(volume.readQuorum),
        volume.epoch === null ? null : String(volume.epoch),
        volume.commitLsn,
        volume.appliedLsn,
      ],
    ],
  );
  await show(
    'Storage nodes',
    ['Node', 'State', 'Address', 'Log to', 'Pages to', 'Problem'],
    storage.map((node) => [
      node.id,
      node.voter === false ? `${node.state}, learner` : node.state,
      `${node.host}:${node.port}`,
      node.scl,
      node.applied,
      node.problem,
    ]),
  );
  await show(
    'Computes',
    ['Name', 'Role', 'State', 'Host', 'Port', 'Commit LSN', 'Problem'],
    computes.map((compute) => [
      compute.name,
      compute.role,
      compute.state,
      compute.host,
      String(compute.port),
      compute.commitLsn,
      compute.problem,
    ]),
  );
}

/**
 * Of a primary: how far the log is written, and how far a write quorum holds it, which is what the shipper reports as a
 * synchronous standby does. Of a replica: how far it has been received and replayed.
 */
const LSN_QUERY = `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'replica' ELSE 'primary' END AS "Role",
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END AS "Log end",
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
    ELSE (SELECT pg_catalog.max(flush_lsn) FROM pg_catalog.pg_stat_replication WHERE application_name = 'aurora') END AS "Commit or replay LSN",
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xact_replay_timestamp() ELSE pg_catalog.now() END AS "As of"`;

async function queryLsn(session: Session): Promise<RowsResult | null> {
  return execute(session, LSN_QUERY);
}

async function showLsn(session: Session): Promise<boolean> {
  const result = await queryLsn(session);
  if (!result) return false;
  const table = resultTable(result.fields, result.rows, session.print);
  await session.printTable({ ...table, title: 'Where the log stands', defaultFooter: false });
  return true;
}

/** \lsn shows it; \lsn NAME puts the commit (or replay) LSN, or else the log's end, into a variable. */
async function runLsn(context: SlashContext): Promise<SlashResult> {
  const { session } = context;
  const variable = context.arg('normal', true);
  if (variable === null) return (await showLsn(session)) ? 'done' : 'error';
  const result = await queryLsn(session);
  if (!result) return 'error';
  const [, end, commit] = result.rows[0]!;
  return session.variables.set(variable, commit ?? end ?? '') ? 'done' : 'error';
}

function refuseAsOf(context: SlashContext): SlashResult {
  context.arg('line');
  context.session.error('\\asof: no compute of this cluster reads the past yet');
  context.session.hint(
    'The storage nodes keep it for the retention time: "aurora inspect page --lsn" shows any page as of an LSN.',
  );
  return 'error';
}

export const auroraCommands: Record<string, SlashCommand> = {
  aurora: { run: runAurora },
  lsn: { run: runLsn },
  asof: { run: refuseAsOf, skip: 'line' },
};
