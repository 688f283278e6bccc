// The documents of the events are those of the code, valid, and true.
import { readdirSync, readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import { describe, expect, test } from '@jest/globals';
import { dataSchema, type EventName, eventData, parseEvent } from '@promopulse/shared/contracts/index';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import { exampleEvent, summaries } from '../examples.ts';
import { docs, generatedFiles } from '../files.ts';

const names = Object.keys(eventData) as EventName[];
const read = (path: string) => readFileSync(new URL(path, docs), 'utf8');
const ajv = new Ajv({ strict: true, allErrors: true });
addFormats.default(ajv);

/** The committed schemas, as a subscriber finds them by `dataschema`. */
for (const file of readdirSync(new URL('schemas/', docs))) ajv.addSchema(JSON.parse(read(`schemas/${file}`)));
const problemsOf = (id: string, value: unknown) => {
  const validate = ajv.getSchema(id);
  return validate?.(value) ? [] : (validate?.errors ?? [`there is no schema ${id}`]);
};

test('the committed documents are those of the code; otherwise run: npm run events', () => {
  const committed = ['asyncapi.json', ...readdirSync(new URL('schemas/', docs)).map((file) => `schemas/${file}`)];
  expect(committed.sort()).toEqual([...generatedFiles().keys()].sort());
  for (const [path, text] of generatedFiles()) expect([path, read(path)]).toEqual([path, text]);
});

/** Errors and warnings of the official parser: its severities 0 and 1. */
async function check(text: string) {
  const { document, diagnostics } = await new Parser().parse(text);
  const faults = diagnostics.filter(({ severity }) => severity <= 1);
  return { document, faults: faults.map(({ code, message, path }) => [code, message, path.join('.')]) };
}

test('the AsyncAPI document has no error and no warning by the official parser, which notices a fault', async () => {
  const { document, faults } = await check(read('asyncapi.json'));
  expect(faults).toEqual([]);
  expect(document?.version()).toBe('3.0.0');
  const wrongChannel = read('asyncapi.json').replace(
    '"$ref": "#/channels/user.created"',
    '"$ref": "#/channels/nobody"',
  );
  expect((await check(wrongChannel)).faults).not.toEqual([]);
  expect(
    document
      ?.allMessages()
      .all()
      .map((message) => message.title())
      .sort(),
  ).toEqual([...names].sort());
});

describe.each(names)('%s', (name) => {
  test('has a sentence and an example that its contract and its schemas accept', () => {
    expect(summaries[name]).toMatch(/^[A-Z].+\.$/);
    const example = exampleEvent(name) as { data: object };
    expect(parseEvent(JSON.stringify(example))).toMatchObject({ name, data: example.data });
    expect(problemsOf(dataSchema('envelope'), example)).toEqual([]);
    expect(problemsOf(dataSchema(name), example.data)).toEqual([]);
  });

  test('has a schema that refuses a missing field and a wrong type, and allows a field of a later release', () => {
    const { data } = exampleEvent(name) as { data: Record<string, unknown> };
    const [field = ''] = Object.keys(data);
    const { [field]: _, ...withoutField } = data;
    expect(problemsOf(dataSchema(name), withoutField)).not.toEqual([]);
    expect(problemsOf(dataSchema(name), { ...data, [field]: [] })).not.toEqual([]);
    expect(problemsOf(dataSchema(name), { ...data, added_later: 1 })).toEqual([]);
  });
});
