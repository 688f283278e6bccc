// The packages of npm in the image of a service, as CycloneDX (https://cyclonedx.org). `npm run sbom` writes
// sbom/<service>.cdx.json for each of them, from package-lock.json. The build of an image runs it on what is installed
// there: node sbom.ts <folder> <service> <file>
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

interface Component {
  'bom-ref': string;
  group?: string;
  name: string;
}

interface Sbom {
  metadata: { component: Component };
  components: Component[];
  dependencies: { ref: string }[];
}

const program = join(import.meta.dirname, 'node_modules/@cyclonedx/cyclonedx-npm/bin/cyclonedx-npm-cli.js');

const [folder, service, file] = process.argv.slice(2);
if (folder !== undefined && service !== undefined && file !== undefined) {
  writeSbom(folder, service, { file });
} else {
  const root = resolve(import.meta.dirname, '../..');
  mkdirSync(join(root, 'sbom'), { recursive: true });
  for (const name of readdirSync(join(root, 'services'))) {
    const own = join(root, 'sbom', `${name}.cdx.json`);
    writeSbom(root, name, { file: own, options: ['--package-lock-only'] });
    process.stdout.write(`${own}\n`);
  }
}

/** @throws Error when the tool fails */
function writeSbom(
  folder: string,
  service: string,
  { file, options = [] }: { file: string; options?: string[] },
): void {
  const scope = ['--omit', 'dev', '--workspace', `services/${service}`, '--mc-type', 'application'];
  const output = ['--output-reproducible', '--output-file', file];
  const { status, stderr } = spawnSync(process.execPath, [program, ...options, ...scope, ...output], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`The SBOM of ${service} could not be written:\n${stderr}`);
  const sbom = JSON.parse(readFileSync(file, 'utf8')) as Sbom;
  writeFileSync(file, `${JSON.stringify(about(sbom, service), null, 2)}\n`);
}

/** The tool describes the root of the repository, which is no part of an image. The subject is the service. */
function about(sbom: Sbom, service: string): Sbom {
  const root = sbom.metadata.component;
  const isService = ({ group, name }: Component): boolean => group === '@promopulse' && name === service;
  const component = sbom.components.find(isService);
  if (!component) throw new Error(`The SBOM does not name ${service}`);
  return {
    ...sbom,
    metadata: { ...sbom.metadata, component: { ...component, type: 'application' } as Component },
    components: sbom.components.filter((each) => each !== component),
    dependencies: sbom.dependencies.filter(({ ref }) => ref !== root['bom-ref']),
  };
}
