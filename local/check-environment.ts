// The variables of all services and of the gateway, checked before `npm start` starts a server: one message names every
// one that is wrong.
import { randomUUID } from 'node:crypto';
import { ConfigError } from '@promopulse/shared/config';
import { internalServiceUrls, serviceUrls } from '@promopulse/shared/contracts/services';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { loadServiceConfig } from '@promopulse/shared/service/service-config';
import { loadGatewayConfig } from '../services/gateway/src/config.ts';
import { temporaryKeys } from './development-keys.ts';

/** @throws ConfigError with the first problem of each variable, in one sentence if there is only one */
export function checkEnvironment(definitions: readonly ServiceDefinition[], env: NodeJS.ProcessEnv): void {
  const url = 'http://127.0.0.1:8000';
  const chosenLater = {
    ...temporaryKeys(env),
    ...serviceUrls(() => url),
    ...internalServiceUrls(() => url),
    ...{ HOST: '127.0.0.1', PORT: '0', INTERNAL_HOST: '127.0.0.1', INTERNAL_PORT: '0' },
    ...{ DATABASE_URL: `postgres://promopulse:${randomUUID()}@127.0.0.1/promopulse`, AMQP_URL: undefined },
    ...{ DIRECT_DATABASE_URL: undefined, DIRECT_DATABASE_URL_FILE: undefined },
  };
  const assumed = { ...env, ...chosenLater };
  const usesRabbit = Boolean(env.AMQP_URL) && isAmqpUrl(env.AMQP_URL);
  const ofServices = usesRabbit ? { ...assumed, AMQP_URL: env.AMQP_URL } : assumed;
  const problems = [
    ...serverUrlProblems(env),
    ...problemsOf(() => loadGatewayConfig(assumed)),
    ...definitions.flatMap((definition) => problemsOf(() => loadServiceConfig(ofServices, definition, { usesRabbit }))),
  ];
  const first = new Map<string, string>();
  for (const problem of problems) {
    const variable = problem.split(/\W/)[0] ?? '';
    if (!first.has(variable)) first.set(variable, problem);
  }
  const [one, ...others] = first.values();
  if (one !== undefined) throw new ConfigError(others.length === 0 ? one : [one, ...others]);
}

function problemsOf(load: () => unknown): readonly string[] {
  try {
    load();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

/** The services themselves get other URLs, and would name none of these. */
function serverUrlProblems({ DATABASE_URL, AMQP_URL }: NodeJS.ProcessEnv): string[] {
  const problems: string[] = [];
  if (DATABASE_URL && !/^postgres(ql)?:\/\/./.test(DATABASE_URL)) {
    problems.push('DATABASE_URL must be a postgres:// URL. Correct it, or unset it to use the PostgreSQL of npm.');
  }
  if (AMQP_URL && !isAmqpUrl(AMQP_URL)) {
    problems.push('AMQP_URL must be an amqp:// URL. Correct it, or unset it to use no broker.');
  }
  return problems;
}

function isAmqpUrl(text = ''): boolean {
  return /^amqps?:\/\/./.test(text) && URL.canParse(text);
}
