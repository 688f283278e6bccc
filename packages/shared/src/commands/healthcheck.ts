// The HEALTHCHECK of the images: exits with 0 if the service, or the gateway, whose folder is the working directory is
// ready. It reads the variables of its addresses, and no other module than the list of services: it runs every 5 s.
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { internalPortOffset, services } from '../contracts/services.ts';

const { name, config } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string;
  config: { port: number };
};
const { PORT, HOST, INTERNAL_PORT, INTERNAL_HOST } = process.env;
const isService = services.some((service) => name === `@promopulse/${service}`);
const publicPort = Number(PORT || config.port);
const address = isService
  ? { host: INTERNAL_HOST || HOST, port: Number(INTERNAL_PORT) || publicPort + internalPortOffset }
  : { host: HOST, port: publicPort };
// Every address of the machine, the default of HOST, is also an address to connect to: on Linux it means this machine.
get({ ...address, host: address.host || '127.0.0.1', path: '/health/ready' }, ({ statusCode }) => {
  process.exit(statusCode === 200 ? 0 : 1);
}).on('error', () => process.exit(1));
