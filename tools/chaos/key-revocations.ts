// Makes API keys, uses them and revokes them, again and again during the faults. The promise: every gateway refuses a key
// 2 s after its revocation was acknowledged. A gateway that could not read the keys in between (its database was away, or it
// was frozen) accepts a key that it knew for KEYS_STALE_SECONDS more.
import { setTimeout as sleep } from 'node:timers/promises';
import { staleSeconds } from './callers.ts';
import type { Check } from './check.ts';
import type { Injection } from './injection.ts';
import type { CompletedInjection } from './recovery.ts';
import type { Stack } from './stack.ts';

const refusedAfterMs = 2_000;
const staleMs = staleSeconds * 1_000;
/** How long a revoked key is tried: beyond the time for which a gateway may go on without its database. */
const watchMs = staleMs + 4_000;
const askEveryMs = 200;
const acceptedTimeoutMs = 3_000;
const responseTimeoutMs = 3_000;
const betweenKeysMs = 1_000;

/** A request with a revoked key. Times are milliseconds since the epoch. */
interface Use {
  gateway: number;
  startedAt: number;
  /** 0: no response. */
  status: number;
}

interface Revocation {
  id: string;
  /** When the revocation was acknowledged. */
  revokedAt: number;
  /** How many gateways had accepted the key before. */
  acceptedBy: number;
  uses: Use[];
}

/** When a gateway may have been without its database. */
type Disturbance = Pick<CompletedInjection, 'startedAt' | 'recoverFrom'>;

/** Whether the fault may keep a gateway from reading the keys: its database is away, or the gateway is frozen or new. */
export function mayDisturbKeys({ fault, target, parts }: Injection): boolean {
  if (parts) return parts.some(mayDisturbKeys);
  if (target.includes('gateway') && !target.includes('→')) return true;
  if (fault.startsWith('postgres-') || fault === 'rolling-restart') return true;
  return target === '*→postgres' || /^gateway-.*→postgres$/.test(target);
}

export interface Revocations {
  list: readonly Revocation[];
  /** Every key that was made. */
  secrets: readonly string[];
  stop(): Promise<void>;
}

type Target = Pick<Stack, 'url' | 'gatewayUrls'> & { credential: string };

export function startRevocations(target: Target): Revocations {
  const list: Revocation[] = [];
  const secrets: string[] = [];
  let isRunning = true;
  const watches: Promise<void>[] = [];
  const working = (async () => {
    while (isRunning) {
      const key = await createKey(target);
      if (key) {
        secrets.push(key.secret);
        const revocation = await revokeWhenAccepted(target, key);
        if (revocation) {
          list.push(revocation);
          watches.push(watch(target, key.secret, revocation));
        }
      }
      await sleep(betweenKeysMs);
    }
    await Promise.all(watches);
  })();
  return {
    list,
    secrets,
    stop: async () => {
      isRunning = false;
      await working;
    },
  };
}

interface MadeKey {
  id: string;
  secret: string;
}

async function createKey({ url, credential }: Target): Promise<MadeKey | undefined> {
  const body = JSON.stringify({ name: 'chaos', scopes: ['promotions:read'] });
  const response = await ask(`${url}/api-keys`, credential, { method: 'POST', body });
  return response?.status === 201 ? (JSON.parse(response.text) as MadeKey) : undefined;
}

/** @returns undefined when the revocation was not acknowledged */
async function revokeWhenAccepted(target: Target, { id, secret }: MadeKey): Promise<Revocation | undefined> {
  const accepted = await Promise.all(target.gatewayUrls.map((url) => isAcceptedSoon(url, secret)));
  const response = await ask(`${target.url}/api-keys/${id}`, target.credential, { method: 'DELETE' });
  if (response?.status !== 204) return undefined;
  return { id, revokedAt: Date.now(), acceptedBy: accepted.filter(Boolean).length, uses: [] };
}

async function isAcceptedSoon(url: string, secret: string): Promise<boolean> {
  for (const until = Date.now() + acceptedTimeoutMs; Date.now() < until; await sleep(askEveryMs)) {
    if (isAccepted(await use(url, secret))) return true;
  }
  return false;
}

/** Whatever the service behind answers: a refused key gets 401, and a gateway that cannot judge 503. */
function isAccepted(status: number): boolean {
  return status >= 200 && status < 300;
}

async function watch({ gatewayUrls }: Target, secret: string, { revokedAt, uses }: Revocation): Promise<void> {
  await sleep(Math.max(0, revokedAt + refusedAfterMs - Date.now()));
  const ofGateway = async (url: string, gateway: number): Promise<void> => {
    for (; Date.now() < revokedAt + watchMs; await sleep(askEveryMs)) {
      const startedAt = Date.now();
      uses.push({ gateway, startedAt, status: await use(url, secret) });
    }
  };
  await Promise.all(gatewayUrls.map((url, index) => ofGateway(url, index + 1)));
}

async function use(url: string, secret: string): Promise<number> {
  return (await ask(`${url}/promotions?limit=1`, secret))?.status ?? 0;
}

async function ask(
  url: string,
  credential: string,
  init: { method?: string; body?: string } = {},
): Promise<{ status: number; text: string } | undefined> {
  const headers = { authorization: `Bearer ${credential}`, ...(init.body && { 'content-type': 'application/json' }) };
  try {
    const response = await fetch(url, { ...init, headers, signal: AbortSignal.timeout(responseTimeoutMs) });
    return { status: response.status, text: await response.text() };
  } catch {
    return undefined;
  }
}

export function checkRevocations(list: readonly Revocation[], disturbances: readonly Disturbance[]): Check {
  const breaches = list.flatMap(({ id, revokedAt, uses }) => {
    const late = uses.filter(({ status, startedAt }) => {
      const isDisturbed = disturbances.some(
        (each) => each.startedAt <= startedAt && each.recoverFrom + refusedAfterMs >= revokedAt,
      );
      return isAccepted(status) && startedAt > revokedAt + refusedAfterMs + (isDisturbed ? staleMs : 0);
    });
    return late.map(({ gateway, startedAt }) => `key ${id} at gateway ${gateway} ${startedAt - revokedAt} ms later`);
  });
  const wasUsed = list.some(({ acceptedBy, uses }) => acceptedBy > 1 && uses.some(({ status }) => status === 401));
  if (!wasUsed) breaches.push('no key was accepted by both gateways, revoked and refused');
  const refused = list.flatMap(({ uses }) => uses).filter(({ status }) => status === 401).length;
  return {
    promise: 'a revoked key is refused everywhere 2 s later',
    examined: `${list.length} keys, ${refused} uses refused`,
    breaches,
  };
}
