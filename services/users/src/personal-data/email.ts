// Which email addresses are accepted, and when two are the same. The rules are those of Python's email-validator
// (https://github.com/JoshData/python-email-validator) without looking at DNS, which the original API used.
import { domainToASCII, domainToUnicode } from 'node:url';
import { invisible } from '@promopulse/shared/values/plain-text';
import { foldCase, isAscii } from './case-folding.ts';

const localCharacters = /^[\w!#$%&'*+\-/=?^`{|}~.\u0080-\u{10ffff}]+$/u;
const domainCharacters = /^[\p{L}\p{N}\p{M}.-]+$/u;
const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const unseen = new RegExp(`[${invisible}]`, 'u');

const maxBytes = 254;
/** NFC makes at most four UTF-16 units one, and its cost grows with the square of a run of marks. */
const maxUnits = 4 * maxBytes;
const lengthRule = `must be at most ${maxBytes} bytes in UTF-8, with an international domain as xn--`;

/** Special-use names (RFC 6761 and followers) that receive no mail. */
const rejectedDomains = new Set(['arpa', 'invalid', 'local', 'localhost', 'onion', 'test']);

/** An address as it is kept (the case of the local part stays, the domain is lower case), or the rule it breaks. */
export type EmailCheck = { email: string } | { rule: string };

export function checkEmail(input: string): EmailCheck {
  if (input.length > maxUnits) return { rule: lengthRule };
  const address = input.normalize('NFC');
  const at = address.lastIndexOf('@');
  if (at < 0) return { rule: 'must have an @ between a name and a domain' };
  if (unseen.test(address))
    return { rule: 'must not contain spaces, control characters or invisible ones (in a URL, write a + as %2B)' };
  const local = address.slice(0, at);
  const rule = brokenLocalRule(local);
  if (rule) return { rule };
  const domain = domainToASCII(address.slice(at + 1)).toLowerCase();
  const shown = domainToUnicode(domain);
  const domainRule = brokenDomainRule(address.slice(at + 1), domain, shown);
  if (domainRule) return { rule: domainRule };
  if (Buffer.byteLength(local) + 1 + domain.length > maxBytes) return { rule: lengthRule };
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
 * international domain.
 */
export function canonicalEmail(email: string): string {
  return canonicalForms(email).canonical;
}

/** Whether two accepted addresses are the same. */
export function isSameEmail(one: string, other: string): boolean {
  return one === other || canonicalEmail(one) === canonicalEmail(other);
}

interface CanonicalForms {
  canonical: string;
  /** The canonical form of releases before case folding, which took ı for i, and ẞ for another letter than ß. */
  former: string;
  /** The former canonical form of the canonical form. It is the same for every spelling of the address. */
  shared: string;
}

/** The forms are the same but for a few letters: ı, ẞ, Cherokee. */
export function canonicalForms(email: string): CanonicalForms {
  const at = email.lastIndexOf('@');
  const [name, domain] = [email.slice(0, at), `@${domainToASCII(email.slice(at + 1))}`];
  if (isAscii(name)) {
    const canonical = name.toLowerCase() + domain;
    return { canonical, former: canonical, shared: canonical };
  }
  // Decomposed first: a mark may change its place when it is folded (Unicode 3.13, D145).
  const folded = foldCase(name.normalize('NFD')).normalize('NFC');
  return { canonical: folded + domain, former: foldFormerly(name) + domain, shared: foldFormerly(folded) + domain };
}

/** Must stay as it is: it names indexes that are stored. */
function foldFormerly(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase().replaceAll('ς', 'σ').normalize('NFC');
}
