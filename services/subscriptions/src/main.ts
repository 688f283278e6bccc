// Reads the environment and runs the service.
import { keepHeapSmall, runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { subscriptions } from './service.ts';

keepHeapSmall();
await runProcess('subscriptions service', () => startService(subscriptions, process.env));
