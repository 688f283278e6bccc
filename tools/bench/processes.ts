// CPU time and memory as Linux counts them in /proc (proc(5)): of a process with its descendants, and of the machine.
import { readdirSync, readFileSync } from 'node:fs';

/** Microseconds of a clock tick: USER_HZ is 100 on every architecture that Node supports. */
const tickMicroseconds = 10_000;

interface ProcessEntry {
  pid: number;
  parent: number;
  /** CPU time in microseconds: its own, and that of ended children which it has waited for. */
  cpu: number;
}

/** @returns undefined when the process has ended */
function readEntry(pid: number): ProcessEntry | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses. It may contain spaces and parentheses, so the third field
    // begins after the last closing one.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [parent = 0, utime = 0, stime = 0, cutime = 0, cstime = 0] = [1, 11, 12, 13, 14].map((at) => fields[at]);
    return { pid, parent, cpu: (utime + stime + cutime + cstime) * tickMicroseconds };
  } catch {
    return undefined;
  }
}

/** @returns for each process the CPU time used so far by it and all its descendants, in microseconds */
export function cpuOfTrees(roots: readonly number[]): number[] {
  const entries = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readEntry(Number(name)) ?? []);
  const children = Map.groupBy(entries, ({ parent }) => parent);
  const descendants = (pid: number): number =>
    (children.get(pid) ?? []).reduce((sum, child) => sum + child.cpu + descendants(child.pid), 0);
  return roots.map((root) => (entries.find(({ pid }) => pid === root)?.cpu ?? 0) + descendants(root));
}

/** CPU time of all cores together since the machine started, in microseconds. */
export interface MachineCpu {
  busy: number;
  /** Given by the hypervisor to others. */
  steal: number;
  total: number;
}

export function machineCpu(): MachineCpu {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  const ticks = line.split(/\s+/).slice(1, 9).map(Number);
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = ticks;
  const busy = user + nice + system + irq + softirq;
  return {
    busy: busy * tickMicroseconds,
    steal: steal * tickMicroseconds,
    total: (busy + idle + iowait + steal) * tickMicroseconds,
  };
}

/** Resident memory in MB (10^6 bytes); 0 when the process has ended. */
export function residentMemory(pid: number): number {
  try {
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return (Number(kilobytes ?? 0) * 1_024) / 1_000_000;
  } catch {
    return 0;
  }
}
