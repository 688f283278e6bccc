import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { promotionStatuses as statuses } from '@promopulse/shared/contracts/promotions';
import {
  checkEdit,
  checkPeriod,
  checkTransition,
  editableFields,
  type Field,
  fields,
  transitions,
} from '../src/rules.ts';

const pairs = statuses.flatMap((from) => statuses.map((to) => [from, to] as const));

describe('the lifecycle of a promotion', () => {
  test('has two transitions: draft to active, active to ended', () => {
    expect(transitions).toEqual({ draft: ['active'], active: ['ended'], ended: [] });
  });

  test.each(pairs.filter(([from, to]) => transitions[from].includes(to)))('goes from %s to %s', (from, to) => {
    expect(checkTransition(from, to)).toBeUndefined();
  });

  test.each(pairs.filter(([from, to]) => !transitions[from].includes(to)))('does not go from %s to %s', (from, to) => {
    expect(checkTransition(from, to)).toMatchObject({
      kind: 'invalid',
      code: 'invalid_transition',
      message: `Cannot transition from ${from} to ${to}. Valid transitions: DRAFT→ACTIVE, ACTIVE→ENDED`,
      errors: [{ field: 'status', rule: `must be reachable from ${from}` }],
      members: { promotion_status: from },
    });
  });
});

const edits = statuses.flatMap((status) => fields.map((field) => [field, status] as const));

describe('editing', () => {
  test('a draft is free, an active promotion keeps its period, an ended one stays as it is', () => {
    expect(editableFields).toEqual({
      draft: fields,
      active: ['name', 'description'],
      ended: [],
    });
  });

  test.each(edits.filter(([field, status]) => editableFields[status].includes(field)))(
    'the %s can be edited when %s',
    (field, status) => {
      expect(checkEdit(status, [field])).toBeUndefined();
    },
  );

  test.each(edits.filter(([field, status]) => !editableFields[status].includes(field)))(
    'the %s cannot be edited when %s',
    (field, status) => {
      expect(checkEdit(status, [field])).toMatchObject({
        kind: 'invalid',
        code: 'field_not_editable',
        message: `Cannot edit field '${field}' when promotion is in ${status} status`,
        errors: [{ field, rule: `cannot be edited when the promotion is ${status}` }],
        members: { promotion_status: status },
      });
    },
  );

  test.each(statuses)('nothing at all is never rejected when %s', (status) => {
    expect(checkEdit(status, [])).toBeUndefined();
  });

  test('of several fields the first that is rejected is named, and all of them are listed', () => {
    const edited: Field[] = ['name', 'end_at', 'start_at'];
    expect(checkEdit('active', edited)).toMatchObject({
      message: "Cannot edit field 'end_at' when promotion is in active status",
      errors: [{ field: 'end_at' }, { field: 'start_at' }],
    });
  });
});

describe('a period', () => {
  const noon = new Date('2026-06-01T12:00:00Z');

  test('ends after it starts, be it by a millisecond', () => {
    expect(checkPeriod(noon, new Date(noon.getTime() + 1))).toBeUndefined();
  });

  test.each([
    ['when it starts', 0],
    ['a millisecond before', -1],
  ])('that ends %s is none', (_when, difference) => {
    expect(checkPeriod(noon, new Date(noon.getTime() + difference))).toMatchObject({
      kind: 'invalid',
      message: 'end_at must be after start_at',
      errors: [{ field: 'end_at', rule: 'must be after start_at' }],
    });
  });
});

describe('the README', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

  test('draws the transitions that the rules allow', () => {
    const drawn = [...readme.matchAll(/^ +(\w+) --> (\w+)/gm)].map(([, from, to]) => [from, to]);
    const allowed = statuses.flatMap((from) => transitions[from].map((to) => [from, to]));
    expect(drawn).toEqual(allowed);
  });

  test('lists what the rules let be edited', () => {
    const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
    const table = [
      row(['field', ...statuses]),
      row(['---', ...statuses.map(() => '---')]),
      ...fields.map((field) =>
        row([`\`${field}\``, ...statuses.map((status) => (editableFields[status].includes(field) ? 'yes' : 'no'))]),
      ),
    ];
    expect(readme).toContain(`\n${table.join('\n')}\n`);
  });
});
