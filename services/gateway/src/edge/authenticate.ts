// The step that learns who calls, before the body is read. It only authenticates: each service decides what its caller may do.
import type { IncomingMessage } from 'node:http';
import { errorHandler } from '@promopulse/shared/http/app';
import { actorHeader } from '@promopulse/shared/http/caller/actor-token';
import { anonymous, type Caller, everybody, nobody, setCaller } from '@promopulse/shared/http/caller/caller';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { RepeatedLog } from '@promopulse/shared/telemetry/repeated-log';
import type { Callers } from '../callers/callers.ts';
import {
  baseUrlOf,
  credentialInTarget,
  credentialMalformed,
  credentialMissing,
  credentialRefused,
  tokenClientRefused,
} from '../callers/challenge.ts';
import { credentialOf, hasCredential, RefusedToken, type SentCredential } from '../callers/credentials.ts';
import type { Principal } from '../callers/principal.ts';
import { withSealingKey } from '../callers/sealed-answers.ts';
import type { AddressQuota } from '../rate-limit/address-quota.ts';
import { needsNoCredential } from './free-paths.ts';
import type { Step } from './steps.ts';
import { pathOf } from './target.ts';

/** Also with AUTH=optional: a key that a stranger makes would outlive the time in which strangers are accepted. */
const closedPath = /^\/api-keys(?:\/|$)/;

const refusedLogEveryMs = 10_000;

/** Of each kind its own: a program with a wrong key must not keep the new tokens of others at its address out. */
export type Failures = Record<SentCredential['kind'], AddressQuota>;

interface AuthenticateOptions {
  /** Undefined with AUTH=off and AUTH=external: nobody is asked. */
  callers: Callers | undefined;
  publicUrl: string | undefined;
  log: Logger;
  /** Of credentials that were refused. Without any left, an address can only send what this gateway knows to be good. */
  failures: Failures;
  /** Of requests without a credential. They guess nothing, so they are no failures. */
  free: AddressQuota;
}

/**
 * Stores the caller of a request, and writes the header by which services learn it. `sanitize` has removed a header of that
 * name from the client. The credential itself ends here.
 */
export function authenticate({ callers, log, ...options }: AuthenticateOptions): Step {
  if (!callers) {
    return (request, _response, next) => {
      setCaller(request, everybody);
      next();
    };
  }
  const handleError = errorHandler(log);
  const identify = createIdentify(callers, { log, ...options });
  /** Where none is required a caller without a credential may do everything, and else nothing, also on a free path. */
  const unknown = callers.isRequired ? nobody : anonymous;
  return (request, response, next) => {
    const accept = (principal: Principal | undefined): void => {
      // While the credential was checked, the client may have gone, or its request may have timed out.
      if (response.destroyed || request.socket.writableEnded) return;
      setCaller(request, principal ? callerOfPrincipal(principal, request) : unknown);
      if (principal) request.headers[actorHeader] = principal.header(callers.actorKey);
      delete request.headers.authorization;
      next();
    };
    const refuse = (error: unknown): void => {
      handleError(error, request, response, () => response.destroy());
    };
    try {
      const found = identify(request);
      if (found instanceof Promise) found.then(accept).catch(refuse);
      else accept(found);
    } catch (error) {
      refuse(error);
    }
  };
}

/** Answers of the routes of keys have secrets, so what is kept of them is sealed by the credential of the request. */
function callerOfPrincipal(principal: Principal, request: IncomingMessage): Caller {
  const credential = closedPath.test(pathOf(String(request.url))) && credentialOf(request);
  return credential && 'text' in credential ? withSealingKey(principal.caller, credential.text) : principal.caller;
}

type Found = Principal | undefined;

/** @returns a function that finds who has sent a request, undefined for an anonymous caller, or throws a DomainError */
function createIdentify(
  callers: Callers,
  { publicUrl, log, failures, free }: Omit<AuthenticateOptions, 'callers'>,
): (request: IncomingMessage) => Found | Promise<Found> {
  const refusals = new RepeatedLog(log, 'a credential was refused', refusedLogEveryMs);
  return (request) => {
    const baseUrl = (): string => baseUrlOf(request, publicUrl);
    if (hasCredential(request.url ?? '')) throw free.take(request) ?? credentialInTarget(baseUrl());
    if (needsNoCredential(request)) return undefined;
    const credential = credentialOf(request);
    if (credential.kind === 'missing' && mayBeAnonymous(request, callers)) return undefined;
    if (credential.kind === 'missing') throw free.take(request) ?? credentialMissing(baseUrl());
    if (credential.kind === 'malformed') {
      throw free.take(request) ?? credentialMalformed(credential.fault)(baseUrl());
    }
    const judge = (): Found | Promise<Found> => {
      const found = find(callers, credential);
      return found instanceof Promise ? found.then(orRefuse) : orRefuse(found);
    };
    const orRefuse = (found: Found | RefusedToken): Principal => {
      if (found && !(found instanceof RefusedToken)) return found;
      const reason = found?.reason ?? 'unknown';
      refusals.add(`${credential.kind} ${reason}`, { credential: credential.kind, reason });
      if (reason !== 'client') {
        failures[credential.kind].take(request);
        throw credentialRefused(baseUrl());
      }
      throw free.take(request) ?? tokenClientRefused(baseUrl());
    };
    judgements.set(request, async () => {
      const principal = await judge();
      if (principal) request.headers[actorHeader] = principal.header(callers.actorKey);
    });
    const known = recall(callers, credential);
    if (known) return known;
    const refusal = failures[credential.kind].refusalOf(request);
    if (refusal) throw refusal;
    return judge();
  };
}

/** Request → what judges its credential again. */
const judgements = new WeakMap<IncomingMessage, () => Promise<void>>();

/**
 * Judges the credential of a request again, from memory: it may have been revoked while the body came. Then writes the
 * header of its caller again: that of the head may be near its end.
 * @throws DomainError as the step does
 */
export async function confirmCaller(request: IncomingMessage): Promise<void> {
  await judgements.get(request)?.();
}

function mayBeAnonymous({ url = '', headers }: IncomingMessage, { isRequired }: Callers): boolean {
  return !isRequired && headers.authorization === undefined && !closedPath.test(pathOf(url));
}

/** What costs no work. @returns the caller of a credential that this gateway knows to be good */
function recall({ keys, tokens }: Callers, { kind, text }: SentCredential): Found {
  return kind === 'key' ? keys.recall(text) : tokens?.recall(text);
}

function find(
  { keys, tokens }: Callers,
  { kind, text }: SentCredential,
): Found | RefusedToken | Promise<Found | RefusedToken> {
  if (kind === 'key') return keys.find(text);
  return tokens ? tokens.find(text) : new RefusedToken('no issuer');
}
