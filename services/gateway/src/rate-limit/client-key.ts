// Whose share a request uses: that of its actor, or, when nobody knows who calls, that of its address.
import type { IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';

/** @returns the id of the actor who sent a request; null when it is not known */
export type ActorOf = (request: IncomingMessage) => string | null;

/** A key of an actor has a kind of its own (`key:`, `subject:`, `user:`), so it is never equal to one of an address. */
export function clientKeyOf(request: IncomingMessage, actorOf: ActorOf): string {
  return actorOf(request) ?? addressKeyOf(request);
}

/** The share of the client's address, which `sanitize` has found (behind TRUSTED_PROXIES) and written. */
export function addressKeyOf({ headers }: IncomingMessage): string {
  return `address:${networkOf(String(headers['x-forwarded-for']))}`;
}

/**
 * What counts as one client: an IPv4 address, or the first 64 bits of an IPv6 address, because a network of that size is
 * the least that one customer gets. An IPv4-mapped address counts as the IPv4 address. A text that is no address counts
 * as itself: then all such clients are one.
 */
export function networkOf(address: string): string {
  if (isIPv4(address) || !isIPv6(address)) return address;
  const groups = groupsOf(address);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}

/** The eight numbers of an IPv6 address, without its zone. */
function groupsOf(address: string): number[] {
  const [plain = ''] = address.split('%');
  const [head = '', tail] = plain.split('::');
  const before = numbersOf(head);
  if (tail === undefined) return before;
  const after = numbersOf(tail);
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The last 32 bits may be written as an IPv4 address. */
function numbersOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return Number.parseInt(group, 16);
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}
