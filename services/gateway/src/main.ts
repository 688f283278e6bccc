// Starts the gateway from the environment and stops it on SIGTERM or SIGINT; a second signal ends it at once.
import { type RunningGateway, startGateway } from './app.ts';

await runGateway(process.env);

async function runGateway(env: NodeJS.ProcessEnv): Promise<void> {
  let gateway: RunningGateway;
  try {
    gateway = await startGateway(env);
  } catch (error) {
    process.stderr.write(`The gateway cannot start. ${explain(error)}\n`);
    process.exit(1);
  }
  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    await gateway.close();
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop());
  process.on('SIGINT', () => void stop());
}

function explain(error: unknown): string {
  const { code, port, message } = error as { code?: string; port?: number; message?: string };
  return code === 'EADDRINUSE' ? `PORT ${port} is taken: set PORT to a free one.` : String(message);
}
