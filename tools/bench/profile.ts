// Summarises the CPU profiles that Node writes with --cpu-prof, by module and by function.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/** @returns arguments of Node with which a service writes its profile into the folder when it ends */
export function profilingArguments(folder: string, part: string): string[] {
  return [
    '--cpu-prof',
    `--cpu-prof-dir=${folder}`,
    `--cpu-prof-name=${part}.cpuprofile`,
    `services/${part}/src/main.ts`,
  ];
}

/** @returns lines of text: for each profile in the folder, the shares of the time in which the process was not idle */
export function describeProfiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .toSorted()
    .flatMap((name) => {
      const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile;
      return [
        `\n${name}: share of busy time by module`,
        ...largestShares(profile, ({ url }) => moduleOf(url), 12),
        `${name}: share of busy time by function, without the functions it calls`,
        ...largestShares(
          profile,
          ({ functionName, url, lineNumber }) => `${functionName || '(anonymous)'} ${locationOf(url, lineNumber)}`,
          16,
        ),
      ];
    });
}

function largestShares(
  { nodes, samples, timeDeltas }: CpuProfile,
  key: (frame: CpuProfile['nodes'][number]['callFrame']) => string,
  count: number,
): string[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, number>();
  let busy = 0;
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id);
    const time = timeDeltas[index] ?? 0;
    if (!frame || frame.functionName === '(idle)' || time < 0) continue;
    busy += time;
    times.set(key(frame), (times.get(key(frame)) ?? 0) + time);
  }
  return [...times]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, time]) => `  ${((time / busy) * 100).toFixed(1).padStart(5)} %  ${name}`);
}

function moduleOf(url: string): string {
  if (url === '') return '(native)';
  if (url.startsWith('node:')) return url;
  const installed = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url.slice(url.lastIndexOf('node_modules/')));
  return installed?.[1] ?? (/(?:packages|services)\/.*$/.exec(url)?.[0] || url);
}

function locationOf(url: string, line: number): string {
  const short = url.replace(/^.*\/node_modules\//, '').replace(/^file:.*?\/(packages|services)\//, '$1/');
  return short === '' ? '' : `(${short}:${line + 1})`;
}
