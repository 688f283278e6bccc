// Reads the environment and runs the service.
import { runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { promotions } from './service.ts';

await runProcess('promotions service', () => startService(promotions, process.env));
