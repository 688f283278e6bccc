// The packages of an image by the lockfile, without installing them.
import packageJson from '../../package.json' with { type: 'json' };

export interface LockedPackage {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  link?: boolean;
  resolved?: string;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  hasInstallScript?: boolean;
}
export type LockedPackages = Record<string, LockedPackage>;

/** The packages of an image that are not the same on every architecture: by their platforms, or because they compile. */
export function platformPackages(packages: LockedPackages, service: string): string[] {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const each of dependenciesIn(packages, path)) visit(each);
  };
  visit(`services/${service}`);
  if (seen.size < 100) throw new Error(`only ${seen.size} packages of ${service} were found`);
  const runsScripts = (path: string): boolean =>
    (packageJson.allowScripts as Record<string, boolean>)[path.replace(/^.*node_modules\//, '')] !== false;
  return [...seen].filter((path) => {
    const { os, cpu, libc, hasInstallScript } = packages[path] ?? {};
    return os || cpu || libc || (hasInstallScript && runsScripts(path));
  });
}

/** Where the lockfile has the packages that the package at `path` loads by name. */
function dependenciesIn(packages: LockedPackages, path: string): string[] {
  const { dependencies, optionalDependencies, peerDependencies } = packages[path] ?? {};
  const names = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
  const parts = path.split('/');
  return names.flatMap((name) => {
    const places = parts.map((_, index) => [...parts.slice(0, parts.length - index), 'node_modules', name].join('/'));
    const found = [...places, `node_modules/${name}`].find((place) => packages[place]);
    return found ? [packages[found]?.link ? String(packages[found].resolved) : found] : [];
  });
}
