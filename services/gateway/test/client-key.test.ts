// Whose share a request uses.
import type { IncomingMessage } from 'node:http';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { addressKeyOf, clientKeyOf, networkOf } from '../src/rate-limit/client-key.ts';

const request = (address: string) => ({ headers: { 'x-forwarded-for': address } }) as unknown as IncomingMessage;

test('the share is that of the actor, and without one that of the address', () => {
  expect(clientKeyOf(request('192.0.2.1'), () => 'key:1')).toBe('key:1');
  expect(clientKeyOf(request('192.0.2.1'), () => null)).toBe('address:192.0.2.1');
  expect(addressKeyOf(request('192.0.2.1'))).toBe('address:192.0.2.1');
});

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:c000:201', '192.0.2.1'],
  ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
  ['2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ['', ''],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test('two IPv6 addresses are one client if their first 64 bits are equal, however they are written', () => {
  const bits = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(bits, bits, bits, (network, one, other) => {
      fc.pre(network.some((group) => group !== 0));
      const write = (host: number[]) => [...network, ...host].map((group) => group.toString(16)).join(':');
      const compressed = new URL(`http://[${write(one)}]`).hostname.slice(1, -1);
      expect(networkOf(compressed)).toBe(networkOf(write(other)));
      const next = [...network.slice(0, 3), Number(network[3]) ^ 1];
      expect(networkOf(write(one))).not.toBe(networkOf([...next, ...one].map((each) => each.toString(16)).join(':')));
    }),
  );
});
