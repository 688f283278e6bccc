// JSON Schemas (draft-07, which AsyncAPI reads too) of the messages, made from their contracts. They are open: a later
// release may add a field, and a subscriber must ignore what it does not know.
import { envelope } from '@promopulse/shared/contracts/envelope';
import { dataSchema, type EventName, eventData } from '@promopulse/shared/contracts/index';
import { z } from 'zod';

type JsonSchema = Record<string, unknown>;

export const eventNames = Object.keys(eventData) as EventName[];

/** The schema of `data` of each message. */
export function dataSchemas(): Record<string, JsonSchema> {
  return Object.fromEntries(eventNames.map((name) => [name, toJsonSchema(eventData[name])]));
}

/** The schema of the CloudEvent around the data. */
export function envelopeSchema(): JsonSchema {
  return toJsonSchema(envelope);
}

/** File name → content, for docs/schemas/. */
export function schemaFiles(): Record<string, JsonSchema> {
  const $schema = 'http://json-schema.org/draft-07/schema#';
  const files = Object.entries(dataSchemas()).map(([name, schema]): [string, JsonSchema] => [
    `${name}.v1.json`,
    { $schema, $id: dataSchema(name), title: `Data of ${name}, version 1`, ...schema },
  ]);
  const $id = dataSchema('envelope');
  return {
    ...Object.fromEntries(files),
    'envelope.v1.json': { $schema, $id, title: 'The CloudEvent that every message is', ...envelopeSchema() },
  };
}

function toJsonSchema(contract: z.ZodType): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(contract, {
    target: 'draft-7',
    io: 'input', // an output would allow no further fields
    override: ({ jsonSchema }) => {
      // The pattern says the same as the format, in 300 characters. `override` is a note to another generator.
      if (jsonSchema.format === 'date-time') for (const key of ['pattern', 'override']) delete jsonSchema[key];
      if (jsonSchema.type === 'integer' && jsonSchema.exclusiveMinimum === 0) {
        delete jsonSchema.exclusiveMinimum;
        jsonSchema.minimum = 1;
      }
    },
  });
  return schema;
}
