// Reads the environment and runs the service.
import { keepHeapSmall, runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { engagement } from './service.ts';

keepHeapSmall();
await runProcess('engagement service', () => startService(engagement, process.env));
