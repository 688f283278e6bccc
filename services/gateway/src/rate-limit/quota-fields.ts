// How a caller learns of its quota: the fields `RateLimit-Policy` and `RateLimit`, and the problem `quota-exceeded`
// (draft-ietf-httpapi-ratelimit-headers-11). A partition key (`pk`) is not told: it would tell one address from another.
import type { ServerResponse } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import { serializeItem, serializeList } from 'structured-headers';
import type { Decision, Limit } from './buckets.ts';
import type { Policy } from './gcra.ts';

/** The value of `RateLimit-Policy`: quota in units, window in seconds. */
export function policyField(policies: readonly Policy[]): string {
  return serializeList(
    policies.map(({ name, quota, windowSeconds }) => [
      name,
      new Map([
        ['q', quota],
        ['w', windowSeconds],
      ]),
    ]),
  );
}

const items = new WeakMap<Policy, string>();

/** The name as an item of a list. */
function itemOf(policy: Policy): string {
  const known = items.get(policy);
  if (known !== undefined) return known;
  const item = serializeItem(policy.name);
  items.set(policy, item);
  return item;
}

/**
 * The value of `RateLimit`: units that are left, and whole seconds until there are more. It is made for each request, and
 * the library would need ten times as long for the two integers.
 */
function limitField(limits: readonly Limit[]): string {
  return limits
    .map(({ policy, remaining, moreAfterSeconds }) => `${itemOf(policy)};r=${remaining};t=${moreAfterSeconds}`)
    .join(', ');
}

export function setQuotaFields(response: ServerResponse, policies: string, { limits }: Decision): void {
  response.setHeader('RateLimit-Policy', policies);
  response.setHeader('RateLimit', limitField(limits));
}

/** The 429 of a request that was not admitted. @param policies the value of `RateLimit-Policy` */
export function quotaExceeded(
  { limits, retryAfterSeconds }: Omit<Decision, 'isAdmitted'>,
  policies: string,
): DomainError {
  const names = limits.map(({ policy }) => policy.name);
  const message = `The quota of ${names.join(' and ')} is used up. Retry after the time in Retry-After.`;
  return new DomainError('rate_limited', 'quota_exceeded', message, {
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    members: { 'violated-policies': names },
    retryAfter: retryAfterSeconds,
    headers: { 'RateLimit-Policy': policies, RateLimit: limitField(limits) },
  });
}
