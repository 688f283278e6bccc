// Reads the environment and runs the service.
import { runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { users } from './service.ts';

await runProcess('users service', () => startService(users, process.env));
