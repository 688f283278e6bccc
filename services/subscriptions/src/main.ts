// Reads the environment and runs the service.
import { runProcess, startService } from '@promopulse/shared/service';
import { subscriptions } from './service.ts';

await runProcess('subscriptions', () => startService(subscriptions, process.env));
