// Runs a container for the time of a test run, by testcontainers.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { StartedTestContainer } from 'testcontainers';

interface ContainerOptions {
  environment: Record<string, string>;
  command?: string[];
  tmpFs?: Record<string, string>;
}

interface RunningContainer {
  id: string;
  /** host:port of the published port. */
  address: string;
  stop(): Promise<void>;
}

/**
 * The image of a service of docker-compose.yml: that of its variable, such as POSTGRES_IMAGE, else the pinned one.
 * @throws Error when the file names none for this service
 */
export function imageOf(service: 'postgres' | 'rabbitmq'): string {
  const compose = readFileSync(resolve(import.meta.dirname, '../../docker-compose.yml'), 'utf8');
  const variable = `${service.toUpperCase()}_IMAGE`;
  const [, pinned] = new RegExp(`image: \\$\\{${variable}:-([^}]+)\\}`).exec(compose) ?? [];
  const image = process.env[variable] || pinned;
  if (image === undefined) throw new Error(`docker-compose.yml has no image for ${service}`);
  return image;
}

/** @throws Error when no Docker daemon answers, or the image is neither present nor can be pulled */
export async function runContainer(
  image: string,
  port: number,
  { environment, command = [], tmpFs = {} }: ContainerOptions,
): Promise<RunningContainer> {
  // Ryuk removes containers after a crash, but is one more image to pull and a container with the Docker socket. The
  // teardown and the signal handlers of global-setup.ts remove them as well, except after a kill -9.
  process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';
  const { GenericContainer, getContainerRuntimeClient } = await import('testcontainers');
  await getContainerRuntimeClient().catch(() => {
    throw new Error('no Docker daemon answers');
  });
  const container: StartedTestContainer = await new GenericContainer(image)
    .withEnvironment(environment)
    .withCommand(command)
    .withTmpFs(tmpFs)
    .withExposedPorts(port)
    .withStartupTimeout(120_000)
    .start();
  return {
    id: container.getId(),
    address: `${container.getHost()}:${container.getMappedPort(port)}`,
    stop: async () => void (await container.stop()),
  };
}
