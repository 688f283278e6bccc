// RATE_LIMITS and AUTH_FAILURE_LIMIT: how much of the API one caller may use.
import { z } from 'zod';
import type { Policy } from './gcra.ts';

/** With AUTH=optional and AUTH=required. With AUTH=off and AUTH=external there is no limit by default. */
const defaultRateLimits = 'burst=100/1s, steady=3000/60s';

const maxPolicies = 4;
/** A change costs two units, so a smaller quota could never grant one. */
const minQuota = 2;
const maxQuota = 1_000_000_000;
const maxUnitsPerSecond = 100_000;
/** One day. */
const maxWindowSeconds = 86_400;

const policyForm = /^([a-z][a-z0-9-]{0,31})=(\d{1,10})\/(\d{1,5})s$/;
const quotaForm = /^(\d{1,10})\/(\d{1,5})s$/;
const form = 'a policy is name=quota/window, such as burst=100/1s (100 units per second)';

/** Of what needs no credential, while the gateway authenticates. */
const defaultFreeLimit = '1000/10s';

/** The policies of addresses, as their problems and fields name them. */
const failuresName = 'auth-failures';
const freeName = 'free';
const ownNames: Readonly<Record<string, string>> = { [failuresName]: 'AUTH_FAILURE_LIMIT', [freeName]: 'FREE_LIMIT' };

export const rateLimitConfig = {
  /** Policies of each caller, separated by commas, or `off`. Unset: by AUTH. */
  RATE_LIMITS: z.string().transform(parsePolicies).optional(),
  /** Failed authentications of one address, such as `20/60s`, or `off`. Counted while AUTH is optional or required. */
  AUTH_FAILURE_LIMIT: z.string().default('20/60s').transform(parseAddressLimit(failuresName)),
  /** Requests of one address that need no credential, or have none, such as `1000/10s`, or `off`. Unset: by AUTH. */
  FREE_LIMIT: z.string().transform(parseAddressLimit(freeName)).optional(),
};

/** What FREE_LIMIT is when it is unset. @param authenticates whether the gateway itself asks callers for credentials */
export function freeLimitOf(configured: AddressLimit | undefined, authenticates: boolean): Policy | undefined {
  if (configured) return configured.policy;
  return authenticates ? z.string().transform(parseAddressLimit(freeName)).parse(defaultFreeLimit).policy : undefined;
}

/** The policies of callers. @param authenticates whether the gateway itself asks callers for credentials */
export function policiesOf(configured: readonly Policy[] | undefined, authenticates: boolean): readonly Policy[] {
  if (configured) return configured;
  return authenticates ? z.string().transform(parsePolicies).parse(defaultRateLimits) : [];
}

function parsePolicies(text: string, context: z.RefinementCtx): readonly Policy[] {
  if (text === 'off') return [];
  const refuse = (message: string): void => void context.addIssue({ code: 'custom', message });
  const policies = text.split(',').flatMap((entry) => {
    const [, name, quota, window] = policyForm.exec(entry.trim()) ?? [];
    if (name === undefined) {
      refuse(`${JSON.stringify(entry.trim().slice(0, 64))} is no policy: ${form}`);
      return [];
    }
    const policy: Policy = { name, quota: Number(quota), windowSeconds: Number(window) };
    const fault = findFault(policy, minQuota);
    if (fault) refuse(`${name} ${fault}`);
    return [policy];
  });
  const names = policies.map(({ name }) => name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated) refuse(`${repeated} is there twice: each policy needs a name of its own`);
  if (policies.length > maxPolicies) refuse(`there are ${policies.length} policies, and at most ${maxPolicies} may be`);
  const taken = names.find((name) => ownNames[name] !== undefined);
  if (taken !== undefined) refuse(`${taken} is the name of ${ownNames[taken]}`);
  return policies;
}

/** The limit of an address. */
interface AddressLimit {
  /** Undefined: `off`. */
  policy: Policy | undefined;
}

function parseAddressLimit(name: string): (text: string, context: z.RefinementCtx) => AddressLimit {
  return (text, context) => {
    if (text === 'off') return { policy: undefined };
    const [, quota, window] = quotaForm.exec(text) ?? [];
    const policy: Policy = { name, quota: Number(quota), windowSeconds: Number(window) };
    const fault = quota === undefined ? 'must be quota/window, such as 20/60s, or off' : findFault(policy, 1);
    if (fault) context.addIssue({ code: 'custom', message: fault });
    return { policy };
  };
}

/** @returns the broken rule; undefined when there is none */
function findFault({ quota, windowSeconds }: Policy, min: number): string | undefined {
  if (quota < min || quota > maxQuota) return `must have a quota from ${min} to ${maxQuota}`;
  if (windowSeconds < 1 || windowSeconds > maxWindowSeconds) {
    return `must have a window from 1 to ${maxWindowSeconds} seconds`;
  }
  return quota / windowSeconds > maxUnitsPerSecond
    ? `must grant at most ${maxUnitsPerSecond} units per second on average`
    : undefined;
}
