// What a deprecated route says of itself, in each of its answers (RFC 9745, RFC 8594) and in the document. The policy:
// docs/versioning.md.
import type { RequestHandler } from 'express';

export interface Deprecation {
  /** The day from which on it is deprecated, such as `2027-01-15`. */
  since: string;
  /** The first day on which it may be gone: at least `leastDays` later. */
  sunset: string;
  /** Where people read what to use instead: a URL. */
  link: string;
}

const leastDays = 180;
const dayMs = 86_400_000;

/**
 * Runs before the route, so that its errors say it, too.
 * @throws Error when the days are none, or the sunset is too early
 */
export function announceDeprecation(deprecation: Deprecation): RequestHandler {
  const headers = headersOf(deprecation);
  return (_request, response, next) => {
    response.setHeaders(headers);
    next();
  };
}

function headersOf({ since, sunset, link }: Deprecation): Map<string, string> {
  const [deprecated, gone] = [Date.parse(since), Date.parse(sunset)];
  if (!(gone - deprecated >= leastDays * dayMs)) {
    throw new Error(`deprecated since ${since}, and gone on ${sunset}: not ${leastDays} days or more`);
  }
  return new Map([
    ['Deprecation', `@${deprecated / 1_000}`],
    ['Sunset', new Date(gone).toUTCString()],
    ['Link', `<${link}>; rel="deprecation"; type="text/html"`],
  ]);
}

/** Completes the description of the operation. */
export function deprecationText({ since, sunset, link }: Deprecation): string {
  return `Deprecated since ${since}, and gone from ${sunset} on at the earliest: ${link}`;
}

/** The headers of the answer, for the document. */
export function describedDeprecation(deprecation: Deprecation) {
  const headers = headersOf(deprecation);
  return Object.fromEntries(
    Object.entries(descriptions).map(([name, description]) => [
      name,
      { description, schema: { type: 'string' as const }, example: headers.get(name) },
    ]),
  );
}

const descriptions = {
  Deprecation: 'Since when the operation is deprecated: seconds since 1970 (RFC 9745).',
  Sunset: 'From when on the operation may be gone (RFC 8594).',
  Link: 'With `rel="deprecation"`: what to use instead.',
};
