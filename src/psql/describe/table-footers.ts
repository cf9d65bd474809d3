/** The lines below \d's table: indexes, constraints, triggers, partitions and what else a relation has. */
import { execute } from '../run.js';
import type { Session } from '../session.js';
import type { Relation } from './table.js';
import type { TextRow } from '../wire-types.js';
import { indexFooters } from './index-footers.js';

/** Ends the collection when a query failed; its error is shown already. */
export class QueryFailed extends Error {}

export class TableFooters {
  private readonly lines: string[] = [];

  constructor(
    private readonly session: Session,
    private readonly relation: Relation,
    private readonly isVerbose: boolean,
  ) {}

  /** All footers in psql's order; null when a query failed. */
  async collect(): Promise<string[] | null> {
    const { kind, isPartition } = this.relation;
    try {
      if (isPartition) await this.partitionOf();
      if (kind === 'p') await this.partitionKey();
      if (kind === 't') await this.owningTable();
      if (kind === 'i' || kind === 'I') {
        const query = (sql: string): Promise<TextRow[]> => this.query(sql);
        this.lines.push(...(await indexFooters(query, this.relation)));
        if (kind === 'i') await this.tablespace();
      } else if ('rmfpt'.includes(kind)) await this.tableParts();
      if ((kind === 'v' || kind === 'm') && this.isVerbose) await this.viewDefinition();
      if (this.relation.hasTriggers) await this.triggers();
      if ('rmfpIt'.includes(kind)) await this.closing();
      if (this.isVerbose && this.relation.options !== '')
        this.lines.push(`Options: ${this.relation.options}`);
      return this.lines;
    } catch (err) {
      if (err instanceof QueryFailed) return null;
      throw err;
    }
  }

  private async query(sql: string): Promise<TextRow[]> {
    const result = await execute(this.session, sql);
    if (!result) throw new QueryFailed();
    return result.rows;
  }

  private section(title: string, lines: string[]): void {
    if (lines.length > 0) this.lines.push(title, ...lines);
  }

  private async partitionOf(): Promise<void> {
    const [row] = await this.query(
      `SELECT inhparent::pg_catalog.regclass, pg_catalog.pg_get_expr(c.relpartbound, c.oid), inhdetachpending, pg_catalog.pg_get_partition_constraintdef(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits i ON c.oid = inhrelid WHERE c.oid = '${this.relation.oid}';`,
    );
    if (!row) return;
    const [parent, bound, detaching, constraint] = row;
    this.lines.push(`Partition of: ${parent} ${bound}${detaching === 't' ? ' DETACH PENDING' : ''}`);
    if (this.isVerbose)
      this.lines.push(constraint ? `Partition constraint: ${constraint}` : 'No partition constraint');
  }

  private async partitionKey(): Promise<void> {
    const [row] = await this.query(
      `SELECT pg_catalog.pg_get_partkeydef('${this.relation.oid}'::pg_catalog.oid);`,
    );
    if (row) this.lines.push(`Partition key: ${row[0]}`);
  }

  private async owningTable(): Promise<void> {
    const [row] = await this.query(
      `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE reltoastrelid = '${this.relation.oid}';`,
    );
    if (row) this.lines.push(`Owning table: "${row[0]}.${row[1]}"`);
  }

  private async tableParts(): Promise<void> {
    const { relation } = this;
    if (relation.hasIndexes) await this.indexes();
    if (relation.hasChecks) await this.checks();
    await this.foreignKeys();
    await this.referencedBy();
    await this.policies();
    await this.statistics();
    if (relation.hasRules && relation.kind !== 'm') await this.rules();
    await this.publications();
    if (this.isVerbose) await this.notNulls();
  }

  private async indexes(): Promise<void> {
    const rows = await this.query(
      `SELECT c.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
  pg_catalog.pg_get_constraintdef(con.oid, true), con.contype, con.condeferrable, con.condeferred, i.indisreplident, con.conperiod,
  (SELECT spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = c.reltablespace)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON i.indexrelid = c.oid
  LEFT JOIN pg_catalog.pg_constraint con ON con.conrelid = i.indrelid AND con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
WHERE i.indrelid = '${this.relation.oid}' ORDER BY i.indisprimary DESC, c.relname;`,
    );
    this.section('Indexes:', rows.map(indexLine));
  }

  private async checks(): Promise<void> {
    const rows = await this.query(
      `SELECT conname, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint
WHERE conrelid = '${this.relation.oid}' AND contype = 'c' ORDER BY 1;`,
    );
    this.section('Check constraints:', rows.map(([name, definition]) => `    "${name}" ${definition}`)); // prettier-ignore
  }

  private async foreignKeys(): Promise<void> {
    const { oid, isPartition, kind } = this.relation;
    // Constraints of the parents of a partition are its own too.
    const tables =
      isPartition || kind === 'p'
        ? `conrelid IN (SELECT relid FROM pg_catalog.pg_partition_ancestors('${oid}'))`
        : `conrelid = '${oid}'`;
    const rows = await this.query(
      `SELECT conrelid = '${oid}'::pg_catalog.regclass, conname, pg_catalog.pg_get_constraintdef(oid, true), conrelid::pg_catalog.regclass
FROM pg_catalog.pg_constraint WHERE ${tables} AND contype = 'f' AND conparentid = 0 ORDER BY 1 DESC, conname;`,
    );
    const lines = rows.map(([own, name, definition, table]) =>
      own === 't' ? `    "${name}" ${definition}` : `    TABLE "${table}" CONSTRAINT "${name}" ${definition}`,
    );
    this.section('Foreign-key constraints:', lines);
  }

  private async referencedBy(): Promise<void> {
    const { oid } = this.relation;
    const rows = await this.query(
      `SELECT conname, conrelid::pg_catalog.regclass, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint
WHERE confrelid IN (SELECT pg_catalog.pg_partition_ancestors('${oid}') UNION ALL VALUES ('${oid}'::pg_catalog.regclass))
  AND contype = 'f' AND conparentid = 0 ORDER BY conname;`,
    );
    const lines = rows.map(
      ([name, table, definition]) => `    TABLE "${table}" CONSTRAINT "${name}" ${definition}`,
    );
    this.section('Referenced by:', lines);
  }

  private async policies(): Promise<void> {
    const { oid, rowSecurity, forceRowSecurity } = this.relation;
    const rows = await this.query(
      `SELECT polname, polpermissive,
  CASE WHEN polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(ARRAY(SELECT rolname FROM pg_catalog.pg_roles WHERE oid = ANY (polroles) ORDER BY 1), ',') END,
  pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid),
  CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END
FROM pg_catalog.pg_policy WHERE polrelid = '${oid}' ORDER BY 1;`,
    );
    const forced = 'forced row security enabled';
    if (rows.length > 0) {
      const state = !rowSecurity ? ' (row security disabled)' : forceRowSecurity ? ` (${forced})` : '';
      this.lines.push(`Policies${state}:`);
    } else if (rowSecurity)
      this.lines.push(`Policies (${forceRowSecurity ? forced : 'row security enabled'}): (none)`);
    for (const [name, permissive, roles, using, check, command] of rows) {
      let line = `    POLICY "${name}"`;
      if (permissive === 'f') line += ' AS RESTRICTIVE';
      if (command) line += ` FOR ${command}`;
      if (roles) line += `\n      TO ${roles}`;
      if (using) line += `\n      USING (${using})`;
      if (check) line += `\n      WITH CHECK (${check})`;
      this.lines.push(line);
    }
  }

  private async statistics(): Promise<void> {
    const rows = await this.query(
      `SELECT stxnamespace::pg_catalog.regnamespace, stxname, pg_catalog.pg_get_statisticsobjdef_columns(oid), stxrelid::pg_catalog.regclass,
  'd' = ANY (stxkind), 'f' = ANY (stxkind), 'm' = ANY (stxkind), stxstattarget
FROM pg_catalog.pg_statistic_ext WHERE stxrelid = '${this.relation.oid}' ORDER BY stxnamespace::pg_catalog.regnamespace::pg_catalog.text, stxname;`,
    );
    const lines = rows.map(([schema, name, columns, table, ndistinct, dependencies, mcv, target]) => {
      const kinds = [
        ...(ndistinct === 't' ? ['ndistinct'] : []),
        ...(dependencies === 't' ? ['dependencies'] : []),
        ...(mcv === 't' ? ['mcv'] : []),
      ];
      const some = kinds.length > 0 && kinds.length < 3 ? ` (${kinds.join(', ')})` : '';
      const stats = target !== null && target !== '-1' ? `; STATISTICS ${target}` : '';
      return `    "${schema}.${name}"${some} ON ${columns} FROM ${table}${stats}`;
    });
    this.section('Statistics objects:', lines);
  }

  private async rules(): Promise<void> {
    const rows = await this.ruleRows('');
    const groups = {
      O: 'Rules:',
      D: 'Disabled rules:',
      A: 'Rules firing always:',
      R: 'Rules firing on replica only:',
    };
    for (const [state, title] of Object.entries(groups)) {
      const lines = rows
        .filter((row) => row[1] === state)
        .map(([definition]) => `    ${ruleText(definition)}`);
      this.section(title, lines);
    }
  }

  private ruleRows(condition: string): Promise<TextRow[]> {
    return this.query(
      `SELECT pg_catalog.rtrim(pg_catalog.pg_get_ruledef(oid, true), ';'), ev_enabled FROM pg_catalog.pg_rewrite
WHERE ev_class = '${this.relation.oid}'${condition} ORDER BY rulename;`,
    );
  }

  private async publications(): Promise<void> {
    const { oid } = this.relation;
    const rows = await this.query(
      `SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
  JOIN pg_catalog.pg_class c ON c.relnamespace = pn.pnnspid WHERE c.oid = '${oid}' AND pg_catalog.pg_relation_is_publishable('${oid}')
UNION SELECT pubname, pg_catalog.pg_get_expr(pr.prqual, pr.prrelid),
  (SELECT pg_catalog.string_agg(attname, ', ') FROM pg_catalog.unnest(pr.prattrs::pg_catalog.int2[]) num JOIN pg_catalog.pg_attribute a ON a.attrelid = pr.prrelid AND a.attnum = num)
FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid WHERE pr.prrelid = '${oid}'
UNION SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication WHERE puballtables AND pg_catalog.pg_relation_is_publishable('${oid}')
ORDER BY 1;`,
    );
    const lines = rows.map(
      ([name, filter, columns]) =>
        `    "${name}"${columns ? ` (${columns})` : ''}${filter ? ` WHERE ${filter}` : ''}`,
    );
    this.section('Publications:', lines);
  }

  private async notNulls(): Promise<void> {
    const rows = await this.query(
      `SELECT c.conname, a.attname, c.connoinherit, c.conislocal, c.coninhcount <> 0, c.convalidated
FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'n' AND c.conrelid = '${this.relation.oid}'::pg_catalog.regclass ORDER BY a.attnum`,
    );
    const lines = rows.map(([name, column, noInherit, isLocal, isInherited, isValid]) => {
      let line = `    "${name}" NOT NULL "${column}"`;
      if (noInherit === 't') line += ' NO INHERIT';
      else if (isInherited === 't') line += isLocal === 't' ? ' (local, inherited)' : ' (inherited)';
      return isValid === 't' ? line : `${line} NOT VALID`;
    });
    this.section('Not-null constraints:', lines);
  }

  private async viewDefinition(): Promise<void> {
    const [row] = await this.query(
      `SELECT pg_catalog.pg_get_viewdef('${this.relation.oid}'::pg_catalog.oid, true);`,
    );
    if (!row?.[0]) return;
    this.lines.push('View definition:', row[0]);
    if (!this.relation.hasRules) return;
    const rules = await this.ruleRows(" AND rulename != '_RETURN'");
    this.section('Rules:', rules.map(([definition]) => ` ${ruleText(definition)}`)); // prettier-ignore
  }

  private async triggers(): Promise<void> {
    const rows = await this.query(
      `SELECT pg_catalog.pg_get_triggerdef(t.oid, true), t.tgenabled, t.tgisinternal,
  CASE WHEN t.tgparentid != 0 THEN
    (SELECT u.tgrelid::pg_catalog.regclass FROM pg_catalog.pg_trigger u, pg_catalog.pg_partition_ancestors(t.tgrelid) WITH ORDINALITY a(relid, depth)
     WHERE u.tgname = t.tgname AND u.tgrelid = a.relid AND u.tgparentid = 0 ORDER BY a.depth LIMIT 1) END
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = '${this.relation.oid}' AND (NOT t.tgisinternal OR t.tgenabled = 'D') ORDER BY t.tgname;`,
    );
    const groups: [string, (row: TextRow) => boolean][] = [
      ['Triggers:', ([, state]) => state === 'O'],
      ['Disabled user triggers:', ([, state, internal]) => state === 'D' && internal === 'f'],
      ['Disabled internal triggers:', ([, state, internal]) => state === 'D' && internal === 't'],
      ['Triggers firing always:', ([, state]) => state === 'A'],
      ['Triggers firing on replica only:', ([, state]) => state === 'R'],
    ];
    for (const [title, belongs] of groups) {
      const lines = rows.filter(belongs).map(([definition, , , parent]) => {
        const text = after(definition!, ' TRIGGER ');
        return `    ${text}${parent === null ? '' : `, ON TABLE ${parent}`}`;
      });
      this.section(title, lines);
    }
  }

  /** Foreign server, inheritance, partitions, storage. */
  private async closing(): Promise<void> {
    const { oid, kind, ofType, accessMethod } = this.relation;
    if (kind === 'f') await this.foreignServer();
    const parents = await this.query(
      `SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
WHERE c.oid = i.inhparent AND i.inhrelid = '${oid}' AND c.relkind NOT IN ('p', 'I') ORDER BY inhseqno;`,
    );
    this.hanging(
      'Inherits',
      parents.map(([name]) => name!),
    );
    await this.children();
    if (ofType !== '') this.lines.push(`Typed table of type: ${ofType}`);
    if (this.isVerbose && (kind === 'r' || kind === 'm')) this.replicaIdentity();
    await this.tablespace();
    if (this.isVerbose && accessMethod !== null && !this.session.settings.hideTableAm)
      this.lines.push(`Access method: ${accessMethod}`);
  }

  private async foreignServer(): Promise<void> {
    const [row] = await this.query(
      `SELECT s.srvname, pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(option_name) || ' ' || pg_catalog.quote_literal(option_value)
  FROM pg_catalog.pg_options_to_table(ftoptions)), ', ')
FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = '${this.relation.oid}';`,
    );
    if (!row) return;
    this.lines.push(`Server: ${row[0]}`);
    if (row[1]) this.lines.push(`FDW options: (${row[1]})`);
  }

  /** "Title: first," and the others below it. */
  private hanging(title: string, items: string[]): void {
    items.forEach((item, i) => {
      const lead = i === 0 ? `${title}: ` : ' '.repeat(title.length + 2);
      this.lines.push(`${lead}${item}${i < items.length - 1 ? ',' : ''}`);
    });
  }

  private async children(): Promise<void> {
    const { oid, kind } = this.relation;
    const isPartitioned = kind === 'p' || kind === 'I';
    const rows = await this.query(
      `SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid AND i.inhparent = '${oid}'
ORDER BY pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text;`,
    );
    if (isPartitioned && rows.length === 0) this.lines.push('Number of partitions: 0');
    else if (!this.isVerbose) {
      const what = isPartitioned ? 'partitions' : 'child tables';
      if (rows.length > 0) this.lines.push(`Number of ${what}: ${rows.length} (Use \\d+ to list them.)`);
    } else
      this.hanging(
        isPartitioned ? 'Partitions' : 'Child tables',
        rows.map(([name, childKind, detaching, bound]) => {
          const what =
            childKind === 'p' || childKind === 'I' ? ', PARTITIONED' : childKind === 'f' ? ', FOREIGN' : '';
          return `${name}${bound === null ? '' : ` ${bound}`}${what}${detaching === 't' ? ' (DETACH PENDING)' : ''}`;
        }),
      );
  }

  /** Shown when it is not what such a table has by default; an index that serves is marked there. */
  private replicaIdentity(): void {
    const { schema, replicaIdentity } = this.relation;
    const usual = schema === 'pg_catalog' ? 'n' : 'd';
    if (replicaIdentity === 'i' || replicaIdentity === usual) return;
    this.lines.push(`Replica Identity: ${replicaIdentity === 'f' ? 'FULL' : 'NOTHING'}`);
  }

  private async tablespace(): Promise<void> {
    const { tablespace, kind } = this.relation;
    if (tablespace === '0' || !'rmipIt'.includes(kind)) return;
    const [row] = await this.query(
      `SELECT spcname FROM pg_catalog.pg_tablespace WHERE oid = '${tablespace}';`,
    );
    if (row) this.lines.push(`Tablespace: "${row[0]}"`);
  }
}

function after(text: string, mark: string): string {
  const at = text.indexOf(mark);
  return at < 0 ? text : text.slice(at + mark.length);
}

function ruleText(definition: string | null | undefined): string {
  return (definition ?? '').slice('CREATE RULE '.length);
}

function indexLine(row: TextRow): string {
  const [name, primary, unique, clustered, valid, definition, constraint, type, deferrable, deferred, identity, period] = row; // prettier-ignore
  const tablespace = row[12];
  let line = `    "${name}"`;
  if (type === 'x' || period === 't') line += ` ${constraint}`;
  else {
    if (primary === 't') line += ' PRIMARY KEY,';
    else if (unique === 't') line += type === 'u' ? ' UNIQUE CONSTRAINT,' : ' UNIQUE,';
    line += ` ${after(definition!, ' USING ')}`;
    if (deferrable === 't') line += ' DEFERRABLE';
    if (deferred === 't') line += ' INITIALLY DEFERRED';
  }
  if (clustered === 't') line += ' CLUSTER';
  if (valid !== 't') line += ' INVALID';
  if (identity === 't') line += ' REPLICA IDENTITY';
  return tablespace ? `${line}, tablespace "${tablespace}"` : line;
}
