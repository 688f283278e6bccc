// `npm run client`: writes src/api.ts. Run it after a change of docs/openapi.json.
import { readFileSync, writeFileSync } from 'node:fs';
import { generated, generateTypes, source } from './source.ts';

writeFileSync(generated, await generateTypes(JSON.parse(readFileSync(source, 'utf8'))));
