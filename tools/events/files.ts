// The generated files: what is in them, and where they are.
import { asyncApiDocument } from './document.ts';
import { schemaFiles } from './schemas.ts';

export const docs = new URL('../../docs/', import.meta.url);

/** Path in docs/ → text. */
export function generatedFiles(): Map<string, string> {
  const files: [string, object][] = [
    ['asyncapi.json', asyncApiDocument()],
    ...Object.entries(schemaFiles()).map(([file, schema]): [string, object] => [`schemas/${file}`, schema]),
  ];
  return new Map(files.map(([path, content]) => [path, `${JSON.stringify(content, null, 2)}\n`]));
}
