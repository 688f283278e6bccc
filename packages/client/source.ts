// The generated types of the API: from which document, into which file, and what is in it.
import openapiTS, { astToString } from 'openapi-typescript';

/** The OpenAPI document that the types are made from. */
export const source = new URL('../../docs/openapi.json', import.meta.url);

export const generated = new URL('src/api.ts', import.meta.url);

const head = '// Generated from docs/openapi.json by `npm run client`. Do not edit.\n';

export async function generateTypes(document: string | object): Promise<string> {
  return head + astToString(await openapiTS(document as string));
}
