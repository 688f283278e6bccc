// What of new environment variables breaks an installation that works with the old ones. All that it may have set must be
// accepted and have an effect, nothing more may be required, and what it has not set must stay as it was.
import type { EnvironmentDocument } from './environment.ts';
import { compareSchemas } from './schema-breaks.ts';
import type { VariablesSchema } from './variables.ts';

/** @returns one sentence for each break */
export function listEnvironmentBreaks(before: EnvironmentDocument, after: EnvironmentDocument): string[] {
  return Object.entries(before.processes).flatMap(([process, old]) => {
    const now = after.processes[process];
    if (!now) return [`${process} is gone`];
    const place = { direction: 'request', place: process } as const;
    return [
      ...compareSchemas({ schema: old, document: before }, { schema: now, document: after }, place),
      ...changedDefaults(old, now).map((change) => `${process}: ${change}`),
      ...newlyRequired(old, now).map((change) => `${process}: ${change}`),
      ...unpublished(old, now).map((port) => `${process}: the port ${port} is not published any more`),
    ];
  });
}

/** Of variables that may be left out in both releases. */
function changedDefaults(old: VariablesSchema, now: VariablesSchema): string[] {
  return Object.entries(old.properties).flatMap(([name, { default: before }]) => {
    const current = now.properties[name];
    if (!current || old.required.includes(name) || now.required.includes(name)) return [];
    if (shownDefault(name, before) === shownDefault(name, current.default)) return [];
    return [`${name}: the default was ${show(before)} and is ${show(current.default)}`];
  });
}

/** Of an image only the name and the major version count: later patches work with the same data. */
function shownDefault(name: string, value: unknown): string {
  return name.endsWith('_IMAGE') ? String(value).replace(/^([^:]*:\d+).*$/, '$1') : show(value);
}

function show(value: unknown): string {
  return value === undefined || value === '' ? 'none' : String(value);
}

/** By a condition that the old release had, too. Another one comes with a setting that nobody has set yet. */
function newlyRequired(old: VariablesSchema, now: VariablesSchema): string[] {
  return Object.entries(old['x-required-with'] ?? {}).flatMap(([condition, names]) => {
    const current = now['x-required-with']?.[condition] ?? [];
    return current
      .filter((name) => !names.includes(name) && !old.required.includes(name))
      .map((name) => `${name} has become required with ${condition}`);
  });
}

function unpublished(old: VariablesSchema, now: VariablesSchema): string[] {
  return (old['x-published'] ?? []).filter((port) => !now['x-published']?.includes(port));
}
