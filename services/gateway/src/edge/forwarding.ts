// Who sent a request, when proxies are between the client and the gateway. A proxy says it in headers, and a client can
// send the same headers. So the gateway believes the proxies of TRUSTED_PROXIES only.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv4, isIPv6, type Socket } from 'node:net';
import parseForwarded from 'forwarded-parse';
import { z } from 'zod';
import { isPathPrefix, prefixHeader } from './public-url.ts';

/** What a request says of its client, as far as the gateway believes it. */
export interface ClientOrigin {
  address: string;
  scheme: 'http' | 'https';
  host: string | undefined;
  /** The path prefix that a proxy has removed, such as `/promo`, or ''. */
  prefix: string;
}

/** One proxy's report of the request that it got. */
interface Hop {
  for?: string | undefined;
  proto?: string | undefined;
  host?: string | undefined;
}

const hostAndPort = /^(?:[A-Za-z0-9._-]+|\[([0-9A-Fa-f:.]+)\])(?::(\d{0,5}))?$/;
const maxPort = 65_535;
const addressAndPort = /^(?:\[([0-9A-Fa-f:.]+)\]|(\d[\d.]+))(?::\d{1,5})?$/;

/** Addresses and ranges of addresses, separated by commas or spaces. */
export const forwardingConfig = {
  TRUSTED_PROXIES: z
    .string()
    .transform((text, context) => {
      const list = new BlockList();
      for (const entry of text.split(/[\s,]+/).filter(Boolean)) {
        if (addRange(list, entry)) continue;
        const message = `${entry.slice(0, 64)} is no IP address and no range of them, such as 10.0.0.0/8 or fd00::/8`;
        context.addIssue({ code: 'custom', message });
      }
      return list;
    })
    .optional(),
};

function addRange(list: BlockList, entry: string): boolean {
  const [, address = '', bits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
  const maxBits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] as number;
  const prefix = Number(bits ?? maxBits);
  if (prefix < 0 || prefix > maxBits) return false;
  list.addSubnet(address, prefix, maxBits === 128 ? 'ipv6' : 'ipv4');
  return true;
}

/** Whether a text is a host, or a host and a port, which may be empty (RFC 9110 7.2) and is at most 65535. User information is no part of it. */
export function isHostAndPort(text: string): boolean {
  const match = hostAndPort.exec(text);
  if (match === null) return false;
  const [, six, port = ''] = match;
  return (six === undefined || isIPv6(six)) && Number(port) <= maxPort;
}

export class TrustedProxies {
  readonly #addresses: BlockList | undefined;
  /** The peer of a connection does not change. */
  readonly #isTrusted = new WeakMap<Socket, boolean>();

  constructor(addresses: BlockList | undefined) {
    this.#addresses = addresses;
  }

  isTrusted(socket: Socket): boolean {
    if (this.#addresses === undefined) return false;
    const known = this.#isTrusted.get(socket);
    if (known !== undefined) return known;
    const isTrusted = this.#has(peerOf(socket));
    this.#isTrusted.set(socket, isTrusted);
    return isTrusted;
  }

  /** Must be called before the forwarding headers are removed. */
  originOf({ headers, socket }: IncomingMessage): ClientOrigin {
    const origin: ClientOrigin = { address: peerOf(socket), scheme: 'http', host: headers.host, prefix: '' };
    return this.isTrusted(socket) ? this.#reportedOrigin(headers, origin) : origin;
  }

  /** Each proxy appends its report. So the last proxy is trusted, and one before it if the one after it says so. */
  #reportedOrigin(headers: IncomingHttpHeaders, peer: ClientOrigin): ClientOrigin {
    const hops = readHops(headers);
    let { address } = peer;
    let hop: Hop | undefined;
    while (hops.length > 0 && this.#has(address)) {
      hop = hops.pop();
      const reported = readAddress(hop?.for);
      if (reported === undefined) break;
      address = reported;
    }
    return {
      address,
      scheme: hop?.proto?.toLowerCase() === 'https' ? 'https' : 'http',
      host: hop?.host !== undefined && isHostAndPort(hop.host) ? hop.host : peer.host,
      prefix: readPrefix(headers),
    };
  }

  #has(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#addresses?.check(address, family === 6 ? 'ipv6' : 'ipv4') === true;
  }
}

/** `::ffff:192.0.2.1`, as a listener for IPv6 has it, is 192.0.2.1. */
function peerOf({ remoteAddress = '' }: Socket): string {
  return plainAddress(remoteAddress);
}

function plainAddress(address: string): string {
  const mapped = /^::ffff:(.+)$/i.exec(address)?.[1];
  return mapped !== undefined && isIPv4(mapped) ? mapped : address;
}

/**
 * `X-Forwarded-*`, or `Forwarded` (RFC 7239) if there is none. With both, `Forwarded` may be the client's own: few proxies
 * know it, and the others pass it on.
 */
function readHops(headers: IncomingHttpHeaders): Hop[] {
  const [addresses, protos, hosts] = ['for', 'proto', 'host'].map((name) => listIn(headers[`x-forwarded-${name}`]));
  if (addresses?.length || protos?.length || hosts?.length) return pairHops(addresses, protos, hosts);
  try {
    return parseForwarded(String(headers.forwarded ?? ''));
  } catch {
    return []; // malformed: nothing is believed
  }
}

/** A list with an entry for each address belongs to them. Of any other, only the last entry is from a trusted proxy. */
function pairHops(addresses: string[] = [], protos: string[] = [], hosts: string[] = []): Hop[] {
  const entry = (list: string[], at: number) => (list.length === addresses.length ? list[at] : list.at(-1));
  const hops = addresses.map((address, at) => ({ for: address, proto: entry(protos, at), host: entry(hosts, at) }));
  return hops.length > 0 ? hops : [{ proto: protos.at(-1), host: hosts.at(-1) }];
}

function listIn(value: string | string[] | undefined): string[] {
  return value === undefined
    ? []
    : String(value)
        .split(',')
        .map((entry) => entry.trim());
}

/** @returns undefined for `unknown`, a name, or anything else that is no address */
function readAddress(text = ''): string | undefined {
  if (isIPv6(text) && !text.includes('%')) return plainAddress(text);
  const [, six, four] = addressAndPort.exec(text) ?? [];
  if (six !== undefined && isIPv6(six)) return plainAddress(six);
  return four !== undefined && isIPv4(four) ? four : undefined;
}

function readPrefix(headers: IncomingHttpHeaders): string {
  const prefix = listIn(headers[prefixHeader]).at(-1)?.replace(/\/$/, '') ?? '';
  return isPathPrefix(prefix) ? prefix : '';
}
