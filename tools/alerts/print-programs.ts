// Prints the folder of the programs `prometheus` and `promtool`, and unpacks them first where there are none.
import { dirname } from 'node:path';
import { ensurePrometheus } from '../../local/prometheus.ts';

const { prometheus } = await ensurePrometheus((line) => process.stderr.write(`${line}\n`));
process.stdout.write(`${dirname(prometheus)}\n`);
