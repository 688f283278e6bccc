// The step that holds each address to its share of what needs no credential. It makes no query.
import { sendProblem } from '@promopulse/shared/http/problem';
import { requestIdOf } from '@promopulse/shared/http/request-log';
import { isProbe, needsNoCredential } from '../edge/free-paths.ts';
import type { Step } from '../edge/steps.ts';
import type { AddressQuota } from './address-quota.ts';

/** Answers 429 to an address beyond FREE_LIMIT. Probes are never refused. */
export function limitFree(quota: Pick<AddressQuota, 'take'>): Step {
  return (request, response, next) => {
    const isCounted = needsNoCredential(request) && !isProbe(request);
    const refusal = isCounted ? quota.take(request) : undefined;
    if (refusal) sendProblem(response, refusal, requestIdOf(request));
    else next();
  };
}
