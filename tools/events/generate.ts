// `npm run events`: writes docs/asyncapi.json and docs/schemas/. Run it after a change of packages/shared/src/contracts.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { docs, generatedFiles } from './files.ts';

const schemas = new URL('schemas/', docs);
rmSync(schemas, { recursive: true, force: true });
mkdirSync(schemas);
for (const [path, text] of generatedFiles()) {
  writeFileSync(new URL(path, docs), text);
  process.stdout.write(`docs/${path}\n`);
}
