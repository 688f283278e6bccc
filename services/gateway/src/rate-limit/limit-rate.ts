// The step that holds each caller to its share. It comes before a body is read.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { sendProblem } from '@promopulse/shared/http/problem';
import { requestIdOf } from '@promopulse/shared/http/request-log';
import { needsNoCredential } from '../edge/free-paths.ts';
import type { Step } from '../edge/steps.ts';
import { type BucketStore, Buckets, type Decision } from './buckets.ts';
import { type ActorOf, clientKeyOf } from './client-key.ts';
import type { Policy } from './gcra.ts';
import { policyField, quotaExceeded, setQuotaFields } from './quota-fields.ts';
import type { RefusalLog } from './refusal-log.ts';

interface LimitRateOptions {
  /** None: no limit. */
  policies: readonly Policy[];
  /** Undefined: this gateway counts alone. */
  store: BucketStore | undefined;
  actorOf: ActorOf;
  refusals: RefusalLog;
}

const reads = new Set(['GET', 'HEAD']);

/** Units of a request: a change costs a service about twice as much as a read. */
function costOf(method: string | undefined): number {
  return reads.has(String(method)) ? 1 : 2;
}

/** Answers 429 `quota_exceeded` to a request beyond its caller's quota. Every other answer tells what is left. */
export function limitRate({ policies, store, actorOf, refusals }: LimitRateOptions): Step {
  if (policies.length === 0) return (_request, _response, next) => next();
  const buckets = new Buckets(policies, { store });
  const policiesText = policyField(policies);

  function proceed(decision: Decision, request: IncomingMessage, response: ServerResponse, next: () => void): void {
    if (decision.isAdmitted) {
      setQuotaFields(response, policiesText, decision);
      next();
      return;
    }
    refusals.add(actorOf(request));
    sendProblem(response, quotaExceeded(decision, policiesText), requestIdOf(request));
  }

  return (request, response, next) => {
    if (needsNoCredential(request)) {
      next();
      return;
    }
    const decision = buckets.take(clientKeyOf(request, actorOf), costOf(request.method));
    if (!(decision instanceof Promise)) {
      proceed(decision, request, response, next);
      return;
    }
    void decision.then((decided) => {
      // Meanwhile the client may have gone, or its request may have timed out.
      if (!response.destroyed && !request.socket.writableEnded) proceed(decided, request, response, next);
    });
  };
}
