// The environment variables of each process as a JSON Schema, made from what the process itself reads.
import { services } from '@promopulse/shared/contracts/services';
import { asksCallers } from '@promopulse/shared/http/caller/authentication';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { loadServiceConfig, serviceVariables } from '@promopulse/shared/service/service-config';
import { z } from 'zod';
import { loadServices } from '../../local/services.ts';
import { gatewayVariables, loadGatewayConfig } from '../../services/gateway/src/config.ts';
import { gatewayDatabaseVariables, loadGatewayDatabaseConfig } from '../../services/gateway/src/gateway-database.ts';
import { composeVariables } from './compose-variables.ts';
import { describeVariables, type Environment, type ProcessVariables, type VariablesSchema } from './variables.ts';

export interface EnvironmentDocument {
  version: string;
  /** Process, or file of Docker Compose → its variables. */
  processes: Record<string, VariablesSchema>;
}

export async function environmentDocument(version: string): Promise<EnvironmentDocument> {
  const processes = [gateway(), ...(await loadServices()).map(service)];
  return {
    version,
    processes: {
      ...Object.fromEntries(processes.map((each) => [each.name, describeVariables(each, services)])),
      ...composeVariables(),
    },
  };
}

function service(definition: ServiceDefinition): ProcessVariables {
  return {
    name: definition.name,
    schema: serviceVariables(definition, true),
    load: (env) => void loadServiceConfig(env, definition, { usesRabbit: true }),
  };
}

/** Its database is opened only when callers are asked, so nothing of it is required without that. */
function gateway(): ProcessVariables {
  return {
    name: 'gateway',
    schema: z.object({ ...gatewayDatabaseVariables.partial({ DATABASE_URL: true }).shape, ...gatewayVariables.shape }),
    load: (env: Environment) => {
      if (asksCallers(loadGatewayConfig(env))) loadGatewayDatabaseConfig(env);
    },
  };
}
