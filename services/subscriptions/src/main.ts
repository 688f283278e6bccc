// Reads the environment and runs the service.
import { runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { subscriptions } from './service.ts';

await runProcess('subscriptions service', () => startService(subscriptions, process.env));
