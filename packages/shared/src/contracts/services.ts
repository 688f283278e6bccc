// The list of services behind the gateway. A name is also the name of the service's folder, schema, role and image.
export const services = ['users', 'promotions', 'subscriptions'] as const;
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

/** An event is named after what it is about: `user.created` is an event of the service `users`. */
export function eventPrefix(service: string): string {
  return `${service.replace(/s$/, '')}.`;
}
