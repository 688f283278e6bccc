// The ports to which `npm start` had to move, because another program had the usual ones. They are kept in the data
// folder, so that the next start uses the same ones and addresses in an editor or a database client stay right.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface KeptPorts {
  /** The port to try first: where the server was moved to before, else its usual one. */
  preferred(server: string, usual: number): number;
  /** Keeps the port of this server if it is not its usual one, and forgets a former one if it is. */
  keep(server: string, port: number, usual: number): void;
}

export function openKeptPorts(dataDir: string): KeptPorts {
  const file = join(dataDir, 'ports.json');
  return {
    preferred: (server, usual) => read(file)[server] ?? usual,
    keep: (server, port, usual) => {
      const kept = read(file);
      const moved = port === usual ? undefined : port;
      if (kept[server] === moved) return;
      if (moved === undefined) delete kept[server];
      else kept[server] = moved;
      writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
    },
  };
}

/** A file that is missing or was damaged costs no start: the usual ports are tried again. */
function read(file: string): Record<string, number> {
  try {
    const stored: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return Object.fromEntries(Object.entries(Object(stored)).filter(isPort));
  } catch {
    return {};
  }
}

function isPort(entry: [string, unknown]): entry is [string, number] {
  const [, port] = entry;
  return typeof port === 'number' && Number.isInteger(port) && port > 0 && port <= 65_535;
}
