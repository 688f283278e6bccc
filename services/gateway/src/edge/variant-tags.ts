// Entity tags of compressed answers. Two codings of a body are two representations, and a strong tag must tell them apart
// (RFC 9110 8.8.3.3): the gateway sends `"7"` as `"7-gzip"` with a body that it has compressed. Requests have the suffix
// back, and the services never see it.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AcceptedCoding } from './accept-encoding.ts';

type Coding = AcceptedCoding['coding'];

const anySuffix = /-(?:br|gzip)"/g;
const suffixes: Readonly<Record<Coding, RegExp>> = { br: /-br"/g, gzip: /-gzip"/g };

/**
 * Removes the suffixes from the conditions of a request. A change means the version, whatever its coding was. A read has
 * nothing new to get only if it accepts the coding that it names.
 */
export function removeTagSuffixes(headers: IncomingHttpHeaders, isRead: boolean, accepted: Coding | undefined): void {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  if (match !== undefined) headers['if-match'] = match.replaceAll(anySuffix, '"');
  if (noneMatch === undefined || (isRead && !accepted)) return;
  headers['if-none-match'] = noneMatch.replaceAll(isRead && accepted ? suffixes[accepted] : anySuffix, '"');
}

/** Gives the strong tag of a compressed answer its suffix. A weak tag stays: it does not name bytes. */
export function addTagSuffix(response: ServerResponse, coding: Coding): void {
  const tag = strongTagOf(response);
  if (tag !== undefined) response.setHeader('ETag', suffixed(tag, coding));
}

/**
 * Gives the tag of a 304 the suffix with which the client has sent it: so it names the answer that the client has.
 * @param sent If-None-Match as the client has sent it
 */
export function restoreTagSuffix(response: ServerResponse, sent: string | undefined, coding: Coding): void {
  const tag = strongTagOf(response);
  if (tag !== undefined && sent?.includes(suffixed(tag, coding))) addTagSuffix(response, coding);
}

function strongTagOf(response: ServerResponse): string | undefined {
  const tag = response.getHeader('etag');
  return tag !== undefined && String(tag).startsWith('"') ? String(tag) : undefined;
}

function suffixed(tag: string, coding: Coding): string {
  return `${tag.slice(0, -1)}-${coding}"`;
}
