// Reads the environment and runs the gateway.
import { runProcess } from '@promopulse/shared/process';
import { startGateway } from './app.ts';

await runProcess('gateway', () => startGateway(process.env));
