// Loads the configuration of each process as its pod would: with the variables of the manifests, and files in the place of
// its secrets. So a missing, a malformed and an unknown variable are found before a pod starts.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '@promopulse/shared/config';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { loadServiceConfig } from '@promopulse/shared/service/service-config';
import { loadGatewayConfig } from '../../services/gateway/src/config.ts';
import { loadGatewayDatabaseConfig } from '../../services/gateway/src/gateway-database.ts';
import { generateFernetKey } from '../../services/users/src/personal-data/fernet.ts';
import { environmentOf, type Manifest, ofKind, type Pod, podsOf } from './manifests.ts';

type Environment = Record<string, string>;

interface Loaded {
  PORT: number;
  INTERNAL_PORT?: number;
  DATABASE_POOL_MAX: number;
  DATABASE_PIPELINED_CONNECTIONS: number;
}

const password = (): string => randomBytes(24).toString('base64url');
const secretValues: Record<string, () => string> = {
  DATABASE_URL: () => `postgres://promopulse:${password()}@postgres:5432/promopulse`,
  AMQP_URL: () => `amqp://promopulse:${password()}@rabbitmq:5672`,
  ACTOR_KEYS: generateFernetKey,
  PII_ENCRYPTION_KEYS: generateFernetKey,
  PII_INDEX_KEY: generateFernetKey,
};

/** @throws ConfigError as the process of the Deployment would at its start */
export function loadAsDeployed(
  manifests: readonly Manifest[],
  deployment: string,
  definitions: readonly ServiceDefinition[],
): { config: Loaded; environment: Environment } {
  const environment = environmentOf(manifests, podOf(manifests, deployment));
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-secrets-'));
  try {
    const env = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => {
        const make = secretValues[name.replace(/_FILE$/, '')];
        if (!name.endsWith('_FILE') || !make) return [name, value];
        const file = join(folder, name);
        writeFileSync(file, make());
        return [name, file];
      }),
    );
    const definition = definitions.find(({ name }) => name === deployment);
    const config = definition
      ? loadServiceConfig(env, definition, { usesRabbit: true })
      : { ...loadGatewayConfig(env), ...loadGatewayDatabaseConfig(env) };
    return { config: config as Loaded, environment };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function podOf(manifests: readonly Manifest[], deployment: string): Pod {
  const pod = podsOf(manifests).find(({ owner }) => owner === `Deployment ${deployment}`);
  if (!pod) throw new Error(`there is no Deployment ${deployment}`);
  return pod;
}

/** Of every Deployment: what its process would refuse, what it does not know, and ports that are not those of its pod. */
export function configProblems(manifests: readonly Manifest[], definitions: readonly ServiceDefinition[]): string[] {
  return ofKind(manifests, 'Deployment').flatMap(({ metadata: { name } }) => {
    try {
      const { config, environment } = loadAsDeployed(manifests, name, definitions);
      const unknown = Object.keys(environment)
        .map((variable) => variable.replace(/_FILE$/, ''))
        .filter((variable) => !Object.keys(config).includes(variable));
      return [
        ...unknown.map((variable) => `${name}: no process reads ${variable}`),
        ...portProblems(podOf(manifests, name), { ...config, METRICS_PORT: Number(environment.METRICS_PORT) }),
      ];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map((problem) => `${name}: ${problem}`);
    }
  });
}

function portProblems({ owner, spec }: Pod, config: { PORT: number; INTERNAL_PORT?: number; METRICS_PORT: number }) {
  const listening: Record<string, number | undefined> = {
    public: config.PORT,
    internal: config.INTERNAL_PORT,
    metrics: config.METRICS_PORT,
  };
  const declared = Object.fromEntries((spec.containers[0]?.ports ?? []).map((port) => [port.name, port.containerPort]));
  return Object.entries(listening)
    .filter(([name, port]) => declared[name] !== port)
    .map(([name, port]) => `${owner} listens on ${port} for ${name}, and declares ${declared[name]}`);
}
