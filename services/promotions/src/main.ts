// Reads the environment and runs the service.
import { keepHeapSmall, runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { promotions } from './service.ts';

keepHeapSmall();
await runProcess('promotions service', () => startService(promotions, process.env));
