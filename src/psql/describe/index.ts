/** Which list a \d command is. */
import type { Session } from '../session.js';
import { listAggregates, listFunctions, listOperators } from './functions.js';
import { printListing } from './listing.js';
import {
  listConfig,
  listDatabases,
  listDomains,
  listExtensionContents,
  listRoleSettings,
  listSchemas,
  listTypes,
} from './objects.js';
import { listAccessMethods, listCasts, listComments, RARE_LISTINGS } from './rare-listings.js';
import { SIMPLE_LISTINGS } from './simple-listings.js';
import type { DescribeOptions } from './options.js';
import { listPartitioned, listPrivileges, listRelations } from './relations.js';
import { listRoles } from './roles.js';
import { describeTables } from './table.js';

/** Gives the arguments of the command one by one. */
export type NextArgument = () => string | null;

/** Runs a \d, \l or \z command; null when there is no such command. */
export async function describe(session: Session, name: string, next: NextArgument): Promise<boolean | null> {
  const run = find(name);
  if (!run) return null;
  const { print } = session;
  const pattern = next();
  const options: DescribeOptions = {
    pattern,
    isVerbose: name.includes('+'),
    withSystem: name.includes('S'),
  };
  // "x" asks for expanded output of this one.
  const flags = name.startsWith('d') ? name.slice(2) : name.replace(/^list/, '');
  if (flags.includes('x')) session.print = { ...print, expanded: 'on' };
  try {
    return await run(session, options, next);
  } finally {
    session.print = print;
  }
}

type Describer = (session: Session, options: DescribeOptions, next: NextArgument) => Promise<boolean>;

function rest(next: NextArgument, pattern: string | null): string[] {
  const list: string[] = [];
  if (pattern !== null) for (let arg = next(); arg !== null; arg = next()) list.push(arg);
  return list;
}

function find(name: string): Describer | null {
  if (/^(l|list)(x?\+?|\+x)$/.test(name)) return listDatabases;
  if (/^z[Sx]*$/.test(name)) return listPrivileges;
  if (/^d([+S].*)?$/.test(name))
    return (session, options) =>
      options.pattern === null ? listRelations(session, 'tvmsE', options) : describeTables(session, options);
  if (/^d[tvmisE]/.test(name)) return (session, options) => listRelations(session, name.slice(1), options);
  if (/^dconfig/.test(name)) return listConfig;
  if (/^drds/.test(name)) return (session, { pattern }, next) => listRoleSettings(session, pattern, pattern === null ? null : next()); // prettier-ignore
  if (/^df([anptwSx+]|$)/.test(name))
    return (session, options, next) =>
      listFunctions(session, name.slice(2), options, rest(next, options.pattern));
  if (/^dP([tinx+]|$)/.test(name))
    return (session, options) => listPartitioned(session, name.slice(2), options);
  if (/^dx/.test(name) && name.includes('+'))
    return (session, { pattern }) => listExtensionContents(session, pattern);
  if (/^dA[cfop]\+?x?$/.test(name))
    return (session, { pattern }, next) =>
      listAccessMethods(session, name, pattern, pattern === null ? null : next());
  if (/^dC[x+]*$/.test(name))
    return (session, { pattern, isVerbose }) => listCasts(session, pattern, isVerbose);
  if (/^dd[Sx]*$/.test(name))
    return (session, { pattern, withSystem }) => listComments(session, pattern, withSystem);
  const rare = Object.keys(RARE_LISTINGS).find((key) => new RegExp(`^${key}[S+x]*$`).test(name));
  if (rare)
    return (session, { pattern, isVerbose, withSystem }) =>
      printListing(session, RARE_LISTINGS[rare]!(isVerbose, withSystem || pattern !== null), pattern);
  const simple = Object.keys(SIMPLE_LISTINGS).find((key) => new RegExp(`^${key}[S+x]*$`).test(name));
  if (simple)
    return (session, { pattern, isVerbose, withSystem }) =>
      printListing(session, SIMPLE_LISTINGS[simple]!(isVerbose, withSystem || pattern !== null), pattern);
  switch (name.slice(0, 2)) {
    case 'da':
      return listAggregates;
    case 'do':
      return (session, options, next) => listOperators(session, options, rest(next, options.pattern));
    case 'dn':
      return listSchemas;
    case 'dT':
      return listTypes;
    case 'dD':
      return listDomains;
    case 'dp':
      return listPrivileges;
    case 'du':
    case 'dg':
      return listRoles;
    default:
      return null;
  }
}
