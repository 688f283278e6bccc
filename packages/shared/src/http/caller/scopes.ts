// What a caller may be allowed to do. A key or a token has a list of scopes; a route needs one of them.
import { type ServiceName, services } from '../../contracts/services.ts';

/** Each service has two, so that a new service needs no line here. */
export type Scope = `${ServiceName}:${'read' | 'write'}` | 'keys:manage';

export const scopes: readonly Scope[] = [
  ...services.flatMap((name): Scope[] => [`${name}:read`, `${name}:write`]),
  'keys:manage',
];

const known: ReadonlySet<string> = new Set(scopes);

export function isScope(text: string): text is Scope {
  return known.has(text);
}
