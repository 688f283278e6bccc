// The body of every main.ts.
import type { ConfigError } from './config.ts';
import { describeError } from './logger.ts';

/**
 * Starts, and stops on SIGTERM or SIGINT (a second signal ends at once). What cannot start says why in one plain
 * message and exits with 1.
 */
export async function runProcess(name: string, start: () => Promise<{ close(): Promise<void> }>): Promise<void> {
  try {
    const running = await start();
    let stopping = false;
    const stop = async (): Promise<void> => {
      if (stopping) process.exit(1);
      stopping = true;
      await running.close();
      process.exit(0);
    };
    process.on('SIGTERM', () => void stop());
    process.on('SIGINT', () => void stop());
  } catch (error) {
    process.stderr.write(`The ${name} cannot start. ${explain(error)}\n`);
    process.exit(1);
  }
}

function explain(error: unknown): string {
  const { name, message, code, port } = error as { name?: string; message?: string; code?: string; port?: number };
  if (name === ('ConfigError' satisfies ConfigError['name'])) return String(message);
  if (code === 'EADDRINUSE') return `PORT ${port} is taken: set PORT to a free one.`;
  return JSON.stringify(describeError(error));
}
