// Entity tags, and the conditions of a request on them (RFC 9110 8.8.3 and 13). A resource with a version has the strong
// tag `"<version>"`; a list has none. A change evaluates its conditions in its own statement or transaction: `versionsOf`
// in SQL, `checkVersion` on a locked row.
import type { IncomingHttpHeaders } from 'node:http';
import { DomainError } from '../errors.ts';

type ConditionField = 'If-Match' | 'If-None-Match';

interface EntityTag {
  isWeak: boolean;
  /** With its quotes, without `W/`. */
  opaque: string;
}

/** `*`: any current representation. */
type Condition = '*' | readonly EntityTag[];

/** What must be true of a resource before a request is performed. */
export interface Preconditions {
  /** One of these tags is the current one, by the strong comparison: a weak tag never is. */
  match?: Condition | undefined;
  /** None of these tags is the current one, by the weak comparison. */
  noneMatch?: Condition | undefined;
}

/** What a request changes, and under which conditions. */
export interface TargetResource {
  id: number;
  conditions: Preconditions;
}

const unconditional: Preconditions = {};

/** Node joins repeated header lines with a comma. @throws DomainError (400) that names the malformed header */
export function readPreconditions(headers: IncomingHttpHeaders): Preconditions {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  if (match === undefined && noneMatch === undefined) return unconditional;
  return { match: parseCondition('If-Match', match), noneMatch: parseCondition('If-None-Match', noneMatch) };
}

/** An element of a list, which may be empty (RFC 9110 5.6.1.2), and what ends it. */
const listElement = /[\t ]*(?:(W\/)?("[\x21\x23-\x7e\x80-\xff]*")[\t ]*)?(?:,|$)/y;

function parseCondition(field: ConditionField, value: string | undefined): Condition | undefined {
  if (value === undefined || value === '*') return value;
  const tags: EntityTag[] = [];
  listElement.lastIndex = 0;
  while (listElement.lastIndex < value.length) {
    const element = listElement.exec(value);
    if (!element) throw malformedCondition(field);
    const [, weak, opaque] = element;
    if (opaque !== undefined) tags.push({ isWeak: weak !== undefined, opaque });
  }
  return tags;
}

function malformedCondition(field: ConditionField): DomainError {
  const rule = 'must be * alone, or entity tags in double quotes, separated by commas';
  return new DomainError('bad_request', 'malformed_request', `${field} ${rule}`, { errors: [{ field, rule }] });
}

/** The tag of a version of a resource. */
export function entityTag(version: number): string {
  return `"${version}"`;
}

/**
 * The condition of a request that is false, of a resource that exists.
 * @param tag its current tag; undefined when it has none
 */
export function findFalseCondition(
  { match, noneMatch }: Preconditions,
  tag: string | undefined,
): ConditionField | undefined {
  if (match !== undefined && match !== '*' && !match.some(({ isWeak, opaque }) => !isWeak && opaque === tag)) {
    return 'If-Match';
  }
  if (noneMatch === '*' || noneMatch?.some(({ opaque }) => opaque === tag)) return 'If-None-Match';
  return undefined;
}

/** The error when a condition of a change is false, else undefined. @param version the current one */
export function checkVersion(conditions: Preconditions, version: number): DomainError | undefined {
  return checkTag(conditions, entityTag(version));
}

/**
 * The same by a tag. @param tag undefined: the resource exists and has none. The target of a creation is the list that gets
 * it (RFC 9110 7.1 and 9.3.3): `If-Match: *` is true of it, `If-None-Match: *` is false, and no tag is its tag.
 */
export function checkTag(conditions: Preconditions, tag: string | undefined): DomainError | undefined {
  const field = findFalseCondition(conditions, tag);
  return field && preconditionFailed(field, tag, conditions);
}

/** The largest value of a column `version`. */
const maxVersion = 2 ** 31 - 1;

/**
 * The conditions as parameters of a statement (`versionIsAllowed` in database/prepared.ts).
 * @returns the versions of which the row must have one, and those of which it must have none; null: no condition
 */
export function versionsOf({ match, noneMatch }: Preconditions): [only: number[] | null, except: number[] | null] {
  const only = match === undefined || match === '*' ? null : match.filter(({ isWeak }) => !isWeak).flatMap(versionOf);
  if (noneMatch === '*') return [[], null];
  return [only, noneMatch === undefined ? null : noneMatch.flatMap(versionOf)];
}

/** No other tag than that of a version is the tag of a row. */
function versionOf({ opaque }: EntityTag): number[] {
  const [, digits] = /^"([1-9]\d{0,9})"$/.exec(opaque) ?? [];
  return digits !== undefined && Number(digits) <= maxVersion ? [Number(digits)] : [];
}

/** It carries the current tag. @param tag undefined: the resource exists and has none */
function preconditionFailed(field: ConditionField, tag: string | undefined, { match }: Preconditions): DomainError {
  const isWeak = Array.isArray(match) && match.some(({ opaque }) => opaque === tag);
  const reason =
    tag === undefined
      ? 'the resource that gets the request exists and has no entity tag'
      : `the current entity tag is ${tag}${field === 'If-Match' && isWeak ? ', and a weak one (W/) never matches' : ''}`;
  const message = `The condition of ${field} is false: ${reason}. Nothing was changed.`;
  return new DomainError('precondition_failed', 'precondition_failed', message, tag ? { headers: { ETag: tag } } : {});
}

/** Of a change without If-Match, where REQUIRE_IF_MATCH is set (RFC 6585 3). */
export function preconditionRequired(): DomainError {
  const message = 'If-Match is required: send the ETag of the resource that you change. Nothing was changed.';
  return new DomainError('precondition_required', 'precondition_required', message);
}

/**
 * The headers of an answer whose body is a resource in its current version.
 * @param path of the resource: for the answer to a request that was sent elsewhere, or that changed it (RFC 9110 6.4.2)
 */
export function versionHeaders(version: number, path?: string): Record<string, string> {
  return { ETag: entityTag(version), ...(path !== undefined && { 'Content-Location': path }) };
}

/** How the OpenAPI document describes `versionHeaders`, with these examples. */
export function describedVersion(version: number, path?: string) {
  const ETag = {
    description: 'The entity tag of this version. A change with `If-Match` is made only while it is the current one.',
    example: entityTag(version),
  };
  const location = { description: 'Path of the resource that the body shows, and that `ETag` is of.', example: path };
  return { ETag, ...(path !== undefined && { 'Content-Location': location }) } as Record<string, typeof ETag>;
}
