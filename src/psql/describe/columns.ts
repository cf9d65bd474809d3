/** Columns that many lists have. */
export type Columns = [string, string][];
export const when = (condition: boolean, ...columns: Columns): Columns => (condition ? columns : []);
export const owner = (column: string): [string, string] => ['Owner', `pg_catalog.pg_get_userbyid(${column})`];
export const description = (oid: string, catalog: string): [string, string] => [
  'Description',
  `pg_catalog.obj_description(${oid}, '${catalog}')`,
];
export const fdwOptions = (column: string): [string, string] => [
  'FDW options',
  `CASE WHEN ${column} IS NULL THEN '' ELSE '(' || pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(option_name) || ' ' || pg_catalog.quote_literal(option_value) FROM pg_catalog.pg_options_to_table(${column})), ', ') || ')' END`,
];
