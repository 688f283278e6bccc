// The objects of deploy/kubernetes as Kustomize builds them, and what the tests ask about them.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import { parseAllDocuments } from 'yaml';

const root = resolve(import.meta.dirname, '../..');
const minKustomize = 5;

type Labels = Record<string, string>;

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Labels };
  // biome-ignore lint/suspicious/noExplicitAny: the type depends on the kind, and tsc has checked it
  spec?: any;
  data?: Record<string, string>;
}

export interface Pod {
  /** Kind and name of what makes it. */
  owner: string;
  labels: Labels;
  spec: IPodSpec;
}

/** @returns undefined when there is a kubectl with Kustomize 5 or later, else what is missing */
export function missingKustomize(): string | undefined {
  const { stdout, error } = spawnSync('kubectl', ['version', '--client'], { encoding: 'utf8' });
  if (error) return 'kubectl is not installed';
  const [, version = '0'] = /Kustomize Version: v(\d+)/.exec(stdout) ?? [];
  return Number(version) >= minKustomize ? undefined : `kubectl has Kustomize ${version}, not ${minKustomize} or later`;
}

/** @param path below deploy/kubernetes @throws when Kustomize refuses it, with its message */
export function build(path: string): Manifest[] {
  const text = execFileSync('kubectl', ['kustomize', join(root, 'deploy/kubernetes', path)], {
    encoding: 'utf8',
    stdio: 'pipe',
  });
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

/** The errors of tsc when each object is written as a literal of its type. A member that the type has not is one. */
export function typeErrors(manifests: readonly Manifest[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-manifests-'));
  try {
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    mkdirSync(join(folder, 'src'));
    const typed = manifests.map(({ apiVersion, kind }, index) => ({
      import: `import type { I${kind} as T${index} } from 'kubernetes-models/${apiVersion}/${kind}';`,
      literal: `export const o${index}: T${index} = ${JSON.stringify(manifests[index], undefined, 1)};`,
    }));
    const lines = [...typed.map((each) => each.import), ...typed.map(({ literal }) => literal)];
    writeFileSync(join(folder, 'src/objects.ts'), lines.join('\n'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    const compilerOptions = { module: 'nodenext', strict: true, noEmit: true, skipLibCheck: true, types: [] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
    const { stdout, status } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' });
    const errors = stdout.split('\n').filter((line) => line.includes('error TS'));
    return status === 0 || errors.length > 0 ? errors : [`tsc ended with ${status}: ${stdout}`];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function ofKind(manifests: readonly Manifest[], kind: string): Manifest[] {
  return manifests.filter((each) => each.kind === kind);
}

export function podsOf(manifests: readonly Manifest[]): Pod[] {
  return manifests.flatMap(({ kind, metadata, spec }) =>
    spec?.template?.spec
      ? [{ owner: `${kind} ${metadata.name}`, labels: spec.template.metadata?.labels ?? {}, spec: spec.template.spec }]
      : [],
  );
}

export function containersOf({ spec }: Pod): IContainer[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/** @throws Error when there is none, or it is of another kind */
export function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((each) => each.kind === kind && each.metadata.name === name);
  if (!found) throw new Error(`there is no ${kind} ${name}`);
  return found;
}

export function matches(selector: { matchLabels?: Labels } | undefined, labels: Labels): boolean {
  return Object.entries(selector?.matchLabels ?? {}).every(([name, value]) => labels[name] === value);
}

/** The variables of a pod's first container: its own, and those of the ConfigMaps that it names. */
export function environmentOf(manifests: readonly Manifest[], { spec }: Pod): Labels {
  const [container] = spec.containers;
  const maps = (container?.envFrom ?? []).map(({ configMapRef }) => {
    return find(manifests, 'ConfigMap', String(configMapRef?.name)).data ?? {};
  });
  const own = Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value ?? '']));
  return Object.assign({}, ...maps, own);
}

/** Path in the container → name and key of the secret, of all secrets that are mounted as files. */
export function secretFilesOf({ spec }: Pod): Map<string, { secret: string; key: string }> {
  const files = new Map<string, { secret: string; key: string }>();
  for (const container of spec.containers) {
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const volume = spec.volumes?.find((each) => each.name === name);
      for (const { secret } of volume?.projected?.sources ?? []) {
        for (const { key, path } of secret?.items ?? []) {
          files.set(`${mountPath}/${path}`, { secret: String(secret?.name), key });
        }
      }
    }
  }
  return files;
}
