// Loads the definition of each service in the list of services from its folder, and who else has a schema.
import { services } from '@promopulse/shared/contracts/services';
import type { ServiceDefinition } from '@promopulse/shared/service';
import type { SchemaDefinition } from '@promopulse/shared/service/schema-definition';
import { gatewaySchema } from '../services/gateway/src/schema.ts';

/** @throws Error when the folder's `src/service.ts` exports no definition under the service's name */
export async function loadService(name: string): Promise<ServiceDefinition> {
  const module = (await import(`../services/${name}/src/service.ts`)) as Record<string, ServiceDefinition>;
  const definition = module[name];
  if (!definition) throw new Error(`services/${name}/src/service.ts does not export "${name}"`);
  return definition;
}

export function loadServices(): Promise<ServiceDefinition[]> {
  return Promise.all(services.map(loadService));
}

/** Of the services and of the gateway. */
export async function loadSchemas(): Promise<SchemaDefinition[]> {
  return [...(await loadServices()), gatewaySchema];
}
