// The list of services behind the gateway. A name is also the name of the service's folder, schema, role and image.
export const services = ['users', 'promotions', 'subscriptions', 'engagement'] as const;

/** Who has a role and a schema of the same name in the database: the services, and the gateway for its callers. */
export const schemaOwners = ['gateway', ...services] as const;

export type ServiceName = (typeof services)[number];
export type UrlVariable<Name extends ServiceName> = `${Uppercase<Name>}_URL`;

/** The environment variable that holds the URL of a service, such as `USERS_URL`. */
export function urlVariable<Name extends ServiceName>(service: Name): UrlVariable<Name> {
  return `${service.toUpperCase()}_URL` as UrlVariable<Name>;
}

/** One URL variable for each service. */
export function serviceUrls(urlOf: (service: ServiceName) => string): Record<string, string> {
  return Object.fromEntries(services.map((service) => [urlVariable(service), urlOf(service)]));
}

/** The internal listener of a service has the port of its public one plus this, unless a variable names another. */
export const internalPortOffset = 1_000;
const maxPort = 65_535;

export type InternalUrlVariable<Name extends ServiceName> = `${Uppercase<Name>}_INTERNAL_URL`;

/** The environment variable that holds the URL of a service's internal listener, such as `USERS_INTERNAL_URL`. */
export function internalUrlVariable<Name extends ServiceName>(service: Name): InternalUrlVariable<Name> {
  return `${service.toUpperCase()}_INTERNAL_URL` as InternalUrlVariable<Name>;
}

/** One variable for the internal listener of each service. */
export function internalServiceUrls(urlOf: (service: ServiceName) => string): Record<string, string> {
  return Object.fromEntries(services.map((service) => [internalUrlVariable(service), urlOf(service)]));
}

/**
 * Adds the missing URLs of internal listeners to an environment: `USERS_INTERNAL_URL` is by default `USERS_URL` with its
 * port plus 1000. A URL that names no port has no default.
 */
export function withInternalUrls<Env extends Readonly<Record<string, string | undefined>>>(env: Env): Env {
  const internalUrls = services.flatMap((service): [string, string][] => {
    const variable = internalUrlVariable(service);
    const url = env[urlVariable(service)]?.trim() ?? '';
    if (env[variable]?.trim() || env[`${variable}_FILE`]?.trim() || !URL.canParse(url)) return [];
    const internal = new URL(url);
    const port = Number(internal.port) + internalPortOffset;
    if (internal.port === '' || port > maxPort) return [];
    internal.port = String(port);
    return [[variable, internal.href]];
  });
  return { ...env, ...Object.fromEntries(internalUrls) };
}

/** An event is named after what it is about: `user.created` is an event of the service `users`. */
export function eventPrefix(service: string): string {
  return `${service.replace(/s$/, '')}.`;
}
