// Reads the environment and runs the service.
import { keepHeapSmall, runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { users } from './service.ts';

keepHeapSmall();
await runProcess('users service', () => startService(users, process.env));
