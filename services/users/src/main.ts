// Reads the environment and runs the service.
import { runProcess, startService } from '@promopulse/shared/service';
import { users } from './service.ts';

await runProcess('users', () => startService(users, process.env));
