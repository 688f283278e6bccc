// What a caller may be allowed to do. A key or a token has a list of scopes; a route needs one of them.
import { type ServiceName, services } from '../../contracts/services.ts';

/** What the scopes of a service are named after, if it is not the service. */
const nouns = { engagement: 'events' } as const satisfies Partial<Record<ServiceName, string>>;

type NounOf<Name extends ServiceName> = Name extends keyof typeof nouns ? (typeof nouns)[Name] : Name;

/** Each service has two, so that a new service needs no line here. */
export type Scope = `${NounOf<ServiceName>}:${'read' | 'write'}` | 'keys:manage';

export const scopes: readonly Scope[] = [
  ...services.map(nounOf).flatMap((noun): Scope[] => [`${noun}:read`, `${noun}:write`]),
  'keys:manage',
];

/** What the scopes of a service are named after. */
export function nounOf(service: ServiceName): NounOf<ServiceName> {
  return service in nouns ? nouns[service as keyof typeof nouns] : (service as NounOf<ServiceName>);
}

const known: ReadonlySet<string> = new Set(scopes);

export function isScope(text: string): text is Scope {
  return known.has(text);
}
