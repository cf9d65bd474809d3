import type { Endpoint } from './storage-client.js';

/** Where a process finds other members, by id, when that is not where the configuration says: behind a forwarded port, or a proxy. */
export type Routes = Readonly<Record<string, Endpoint>>;

/** The nodes at the addresses that lead to them from here. */
export function routed<T extends Endpoint & { readonly id: string }>(
  nodes: readonly T[],
  routes: Routes,
): T[] {
  return nodes.map((node) => {
    if (!Object.hasOwn(routes, node.id)) return node;
    const { host, port } = routes[node.id]!;
    return { ...node, host, port };
  });
}

/** Whether the value, from a settings file, is what it should be. */
export function isRoutes(value: unknown, isPort: (port: unknown) => boolean): value is Routes {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value as Record<string, Partial<Endpoint> | null>).every(
    (to) => typeof to?.host === 'string' && to.host !== '' && isPort(to.port),
  );
}
