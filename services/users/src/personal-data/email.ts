// Which email addresses are accepted, and when two are the same. The rules are those of Python's email-validator
// (https://github.com/JoshData/python-email-validator) without looking at DNS, which the original API used.
import { domainToASCII, domainToUnicode } from 'node:url';

const localCharacters = /^[\w!#$%&'*+\-/=?^`{|}~.\u0080-\u{10ffff}]+$/u;
const domainCharacters = /^[\p{L}\p{N}\p{M}.-]+$/u;
const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Special-use names (RFC 6761 and followers) that receive no mail. */
const rejectedDomains = new Set(['arpa', 'invalid', 'local', 'localhost', 'onion', 'test']);

/** An address as it is kept (the case of the local part stays, the domain is lower case), or the rule it breaks. */
export type EmailCheck = { email: string } | { rule: string };

export function checkEmail(input: string): EmailCheck {
  const address = input.normalize('NFC');
  const at = address.lastIndexOf('@');
  if (at < 0) return { rule: 'must have an @ between a name and a domain' };
  if (/[\p{Z}\p{C}]/u.test(address))
    return { rule: 'must not contain spaces or control characters (in a URL, write a + as %2B)' };
  const local = address.slice(0, at);
  const rule = brokenLocalRule(local);
  if (rule) return { rule };
  const domain = domainToASCII(address.slice(at + 1)).toLowerCase();
  const shown = domainToUnicode(domain);
  const domainRule = brokenDomainRule(address.slice(at + 1), domain, shown);
  if (domainRule) return { rule: domainRule };
  if (Buffer.byteLength(local) + 1 + domain.length > 254) return { rule: 'must be at most 254 characters' };
  return { email: `${local}@${shown}` };
}

function brokenLocalRule(local: string): string | undefined {
  if (local === '') return 'must have a name before the @';
  if ([...local].length > 64) return 'must have at most 64 characters before the @';
  if (!localCharacters.test(local)) return 'must not have this character before the @';
  if (local.startsWith('.') || local.endsWith('.') || local.includes('..')) {
    return 'must not have a dot at the start or end of the name, or two in a row';
  }
  return undefined;
}

/** Decoding an `xn--` label can give characters that are not allowed, so the decoded form (`shown`) is checked too. */
function brokenDomainRule(written: string, domain: string, shown: string): string | undefined {
  if (written === '') return 'must have a domain after the @';
  const labels = domain.split('.');
  const isWritable = [written, shown].every((form) => domainCharacters.test(form)) && domainToASCII(shown) === domain;
  if (!isWritable || !labels.every((part) => label.test(part)) || /(^|\.)(-|xn--)|-(\.|$)/.test(shown))
    return 'must have a valid domain after the @';
  if (labels.length < 2) return 'must have a dot in its domain';
  if (domain.length > 253 || !/[a-z]$/.test(domain)) return 'must have a valid domain after the @';
  if (rejectedDomains.has(labels.at(-1) as string)) return 'must not have a special-use domain';
  return undefined;
}

/**
 * Two addresses with the same canonical form are the same address: it ignores letter case and the spelling of an
 * international domain. `toUpperCase().toLowerCase()` also equates ς and σ, µ and μ, ß and SS.
 */
export function canonicalEmail(email: string): string {
  const at = email.lastIndexOf('@');
  const local = email.slice(0, at).normalize('NFC').toUpperCase().toLowerCase().replaceAll('ς', 'σ').normalize('NFC');
  return `${local}@${domainToASCII(email.slice(at + 1))}`;
}
