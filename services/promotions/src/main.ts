// Reads the environment and runs the service.
import { runProcess, startService } from '@promopulse/shared/service';
import { promotions } from './service.ts';

await runProcess('promotions', () => startService(promotions, process.env));
