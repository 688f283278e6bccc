// The manifests of deploy/kubernetes, without a cluster: Kustomize builds them, tsc checks each object against its type,
// the configuration of each process is loaded with the variables of its pod, and the rules of manifest-rules.ts hold.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { bindingsOf } from '@promopulse/shared/contracts/queues';
import { eventPrefix, schemaOwners, services } from '@promopulse/shared/contracts/services';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { loadServices } from '../local/services.ts';
import { configProblems, loadAsDeployed } from './support/manifest-config.ts';
import {
  brokenUrls,
  insecurePods,
  maxPods,
  misplacedSecrets,
  missingSecrets,
  missingTargets,
  roughStops,
  wrongPorts,
} from './support/manifest-rules.ts';
import {
  build,
  environmentOf,
  find,
  type Manifest,
  missingKustomize,
  ofKind,
  type Pod,
  podsOf,
  typeErrors,
} from './support/manifests.ts';
import { mayConnect, opensInternet } from './support/network-policies.ts';

const overlays = ['demo', 'production'] as const;
const bases = schemaOwners.map((name) => `base/${name}`);
/** Of PostgreSQL in the demo, and what the README asks of the one in production. */
const maxConnections = 200;
/** Of a role, by provision.sql. */
const connectionLimitOfRole = 40;
const connectionsOfMigration = 3;

const missing = missingKustomize();
if (missing && process.env.TEST_KUBERNETES === 'require') throw new Error(missing);
const described = missing ? describe.skip : describe;

let built: Record<string, Manifest[]>;
let definitions: ServiceDefinition[];
beforeAll(async () => {
  definitions = await loadServices();
  if (missing) return;
  const paths = [...bases, 'contract', ...overlays.map((name) => `overlays/${name}`)];
  built = Object.fromEntries(paths.map((path) => [path, build(path)]));
});
const of = (path: string): Manifest[] => built[path] as Manifest[];
const demo = (): Manifest[] => of('overlays/demo');
const production = (): Manifest[] => of('overlays/production');
const pod = (owner: string, manifests = production()): Pod =>
  podsOf(manifests).find((each) => each.owner === owner) as Pod;

/** A copy in which `change` has changed one object. */
function changed(manifests: Manifest[], kind: string, name: string, change: (manifest: Manifest) => void): Manifest[] {
  const copy = structuredClone(manifests);
  change(find(copy, kind, name));
  return copy;
}
const settingsOf = (manifests: Manifest[], name: string): string =>
  String(
    ofKind(manifests, 'ConfigMap').find(({ metadata }) => metadata.name.startsWith(`${name}-settings`))?.metadata.name,
  );

described(missing ? `the manifests (not checked: ${missing})` : 'the manifests', () => {
  test('are objects of Kubernetes, member by member, in every base and overlay', () => {
    expect(typeErrors(Object.values(built).flat())).toEqual([]);
  }, 120_000);

  test('with a member that is misspelt are refused, with its name', () => {
    const misspelt = changed(demo(), 'Deployment', 'users', ({ spec }) => {
      const [container] = spec.template.spec.containers;
      container.redinessProbe = container.readinessProbe;
    });
    expect(typeErrors(misspelt).join('\n')).toMatch(/redinessProbe.*does not exist in type 'IContainer'/);
  }, 120_000);

  test.each(bases)('%s can be deployed alone', (path) => {
    const name = path.split('/')[1] as string;
    const kinds = of(path).map(({ kind }) => kind);
    for (const kind of [
      'Deployment',
      'Service',
      'HorizontalPodAutoscaler',
      'PodDisruptionBudget',
      'ConfigMap',
      'Job',
    ]) {
      expect(kinds).toContain(kind);
    }
    expect(ofKind(of(path), 'Deployment').map(({ metadata }) => metadata.name)).toEqual([name]);
    expect(kinds.filter((kind) => kind === 'NetworkPolicy')).toHaveLength(2);
  });

  describe.each(overlays)('of the overlay %s', (overlay) => {
    const manifests = (): Manifest[] => of(`overlays/${overlay}`);

    test('give every process the variables that it needs, and none that it does not know', () => {
      expect(configProblems(manifests(), definitions)).toEqual([]);
    });
    test('name ports that are listened on, and Services that exist', () => {
      expect([...wrongPorts(manifests()), ...brokenUrls(manifests())]).toEqual([]);
    });
    test('select and scale pods that exist', () => {
      const found = missingTargets(manifests());
      expect(found.filter((line) => !/^NetworkPolicy (default-deny|dns) /.test(line))).toEqual([]);
    });
    test('let no pod be more than the Pod Security Standard "restricted" allows', () => {
      const [namespace] = ofKind(manifests(), 'Namespace');
      expect(namespace?.metadata.labels?.['pod-security.kubernetes.io/enforce']).toBe('restricted');
      expect(insecurePods(manifests())).toEqual([]);
    });
    test('stop a pod only when no client sends to it any more, and when it has finished', () => {
      expect(roughStops(manifests())).toEqual([]);
    });
    test('hand over secrets as files', () => {
      expect(misplacedSecrets(manifests())).toEqual([]);
    });
    test('have one Job of migrations for each owner of a schema, and no other process migrates', () => {
      const jobs = ofKind(manifests(), 'Job').filter(({ metadata }) => metadata.name.endsWith('-migrations'));
      expect(jobs.map(({ metadata }) => metadata.name).sort()).toEqual(
        schemaOwners.map((name) => `${name}-migrations`).sort(),
      );
      for (const { spec } of jobs) expect(spec.template.spec.containers[0].args).toEqual(['expand']);
      for (const name of schemaOwners) {
        expect(environmentOf(manifests(), pod(`Deployment ${name}`, manifests())).MIGRATE).toBe('off');
      }
    });
    test('open no more connections during a rollout than a role and PostgreSQL allow', () => {
      const needed = schemaOwners.map((name) => {
        const { config } = loadAsDeployed(manifests(), name, definitions);
        const perPod = config.DATABASE_POOL_MAX + config.DATABASE_PIPELINED_CONNECTIONS;
        return maxPods(manifests(), name) * perPod + connectionsOfMigration;
      });
      expect(Math.max(...needed)).toBeLessThanOrEqual(connectionLimitOfRole);
      expect(needed.reduce((sum, each) => sum + each, 0)).toBeLessThan(maxConnections - 10);
    });
    test('let each budget for disruptions allow one, also with one replica', () => {
      for (const { spec } of ofKind(manifests(), 'PodDisruptionBudget')) {
        expect(spec).toMatchObject({ maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow' });
        expect(spec.minAvailable).toBeUndefined();
      }
    });
  });

  test('of production ask every caller for a credential, and hold no secret', () => {
    for (const name of schemaOwners) {
      const environment = environmentOf(production(), pod(`Deployment ${name}`));
      expect(environment).toMatchObject({ ENVIRONMENT: 'production', AUTH: 'required' });
    }
    expect(ofKind(production(), 'Secret')).toEqual([]);
  });

  test('of the demo make every secret that its pods mount', () => {
    expect(missingSecrets(demo())).toEqual([]);
    expect(find(demo(), 'StatefulSet', 'postgres').spec.template.spec.containers[0].args).toContain(
      `max_connections=${maxConnections}`,
    );
  });

  test('of the contract apply all migrations, by Jobs with other names than those of a release', () => {
    const jobs = ofKind(of('contract'), 'Job');
    expect(jobs).toHaveLength(schemaOwners.length);
    for (const { metadata, spec } of jobs) {
      expect(metadata.name).toMatch(/-migrations-contract$/);
      expect(spec.template.spec.containers[0].args).toEqual(['up']);
    }
  });
});

described('who may connect to whom', () => {
  const ingress = { namespace: 'ingress-nginx', labels: {} };
  const monitoring = { namespace: 'monitoring', labels: {} };
  const other = { namespace: 'default', labels: {} };
  const deployment = (name: string): Pod => pod(`Deployment ${name}`, demo());
  const may = (from: Parameters<typeof mayConnect>[1], to: Parameters<typeof mayConnect>[2], port: number): boolean =>
    mayConnect(demo(), from, to, port);
  const portOf = (name: string, port: string): number =>
    Number(deployment(name).spec.containers[0]?.ports?.find((each) => each.name === port)?.containerPort);

  test('clients reach the gateway by the ingress, and nothing else', () => {
    expect(may(ingress, deployment('gateway'), 8000)).toBe(true);
    expect(may(other, deployment('gateway'), 8000)).toBe(false);
    for (const name of services) expect(may(ingress, deployment(name), portOf(name, 'public'))).toBe(false);
  });

  test('the gateway reaches both listeners of every service, and the database, but not the broker', () => {
    for (const name of services) {
      for (const port of ['public', 'internal']) {
        expect(may(deployment('gateway'), deployment(name), portOf(name, port))).toBe(true);
      }
    }
    expect(may(deployment('gateway'), pod('StatefulSet postgres', demo()), 5432)).toBe(true);
    expect(may(deployment('gateway'), pod('StatefulSet rabbitmq', demo()), 5672)).toBe(false);
  });

  test('services reach the data stores, and only a consumer asks owners, on their internal listener', () => {
    for (const from of services) {
      expect(may(deployment(from), pod('StatefulSet postgres', demo()), 5432)).toBe(true);
      expect(may(deployment(from), pod('StatefulSet rabbitmq', demo()), 5672)).toBe(true);
      expect(may(deployment(from), pod('StatefulSet rabbitmq', demo()), 15672)).toBe(false);
      for (const to of services.filter((name) => name !== from)) {
        const asks = bindingsOf(from).includes(`${eventPrefix(to)}*`);
        expect([from, to, may(deployment(from), deployment(to), portOf(to, 'internal'))]).toEqual([from, to, asks]);
        expect(may(deployment(from), deployment(to), portOf(to, 'public'))).toBe(false);
      }
    }
    for (const name of schemaOwners) {
      expect(may(pod(`Job ${name}-migrations`, demo()), pod('StatefulSet postgres', demo()), 5432)).toBe(true);
    }
    expect(may(pod('Job broker-accounts', demo()), pod('StatefulSet rabbitmq', demo()), 15672)).toBe(true);
  });

  test('monitoring reads the metrics of every part, and nothing else', () => {
    for (const name of schemaOwners) {
      expect(may(monitoring, deployment(name), portOf(name, 'metrics'))).toBe(true);
      expect(may(monitoring, deployment(name), portOf(name, 'public'))).toBe(false);
      expect(may(other, deployment(name), portOf(name, 'metrics'))).toBe(false);
    }
  });

  test('only the gateway of production reaches addresses outside the cluster', () => {
    const open = podsOf(production()).filter((each) => opensInternet(production(), each));
    expect(open.map(({ owner }) => owner)).toEqual(['Deployment gateway']);
    expect(podsOf(demo()).filter((each) => opensInternet(demo(), each))).toEqual([]);
  });
});

described('a planted mistake is found', () => {
  test.each<[string, (manifests: Manifest[]) => Manifest[], (manifests: Manifest[]) => string[], RegExp]>([
    [
      'a missing variable',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          const [container] = spec.template.spec.containers;
          container.env = container.env.filter(({ name }: { name: string }) => name !== 'PII_INDEX_KEY_FILE');
        }),
      (manifests) => configProblems(manifests, definitions),
      /^users: PII_INDEX_KEY is not set$/,
    ],
    [
      'a misspelt variable',
      (manifests) =>
        changed(manifests, 'ConfigMap', settingsOf(manifests, 'promotions'), ({ data }) =>
          Object.assign(data ?? {}, { SHUTDOWN_DELAY: '5000' }),
        ),
      (manifests) => configProblems(manifests, definitions),
      /^promotions: no process reads SHUTDOWN_DELAY$/,
    ],
    [
      'a value that is out of bounds',
      (manifests) =>
        changed(manifests, 'ConfigMap', settingsOf(manifests, 'gateway'), ({ data }) =>
          Object.assign(data ?? {}, { MIGRATE: 'never' }),
        ),
      (manifests) => configProblems(manifests, definitions),
      /^gateway: MIGRATE is not valid/,
    ],
    [
      'a port that the process does not listen on',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          spec.template.spec.containers[0].ports[0].containerPort = 8002;
        }),
      (manifests) => configProblems(manifests, definitions),
      /^Deployment users listens on 8001 for public, and declares 8002$/,
    ],
    [
      'a Service that sends to no port of its pods',
      (manifests) =>
        changed(manifests, 'Service', 'users', ({ spec }) => {
          spec.ports[1].targetPort = 'intern';
        }),
      wrongPorts,
      /^Service users sends to the port intern/,
    ],
    [
      'a URL with the port of another Service',
      (manifests) =>
        changed(manifests, 'ConfigMap', settingsOf(manifests, 'gateway'), ({ data }) =>
          Object.assign(data ?? {}, { USERS_INTERNAL_URL: 'http://users:8001' }),
        ),
      brokenUrls,
      /USERS_INTERNAL_URL is http:\/\/users:8001, which is no internal port/,
    ],
    [
      'a probe of a port that is not there',
      (manifests) =>
        changed(manifests, 'Deployment', 'gateway', ({ spec }) => {
          spec.template.spec.containers[0].livenessProbe.httpGet.port = 'internal';
        }),
      wrongPorts,
      /^Deployment gateway is probed on the port internal/,
    ],
    [
      'an autoscaler of nothing',
      (manifests) =>
        changed(manifests, 'HorizontalPodAutoscaler', 'users', ({ spec }) => {
          spec.scaleTargetRef.name = 'user';
        }),
      missingTargets,
      /^HorizontalPodAutoscaler users scales nothing$/,
    ],
    [
      'a budget that selects no pod',
      (manifests) =>
        changed(manifests, 'PodDisruptionBudget', 'users', ({ spec }) => {
          spec.selector.matchLabels = { app: 'users' };
        }),
      missingTargets,
      /^PodDisruptionBudget users selects no pod$/,
    ],
    [
      'a container that may write',
      (manifests) =>
        changed(manifests, 'Job', 'users-migrations', ({ spec }) => {
          spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem = false;
        }),
      insecurePods,
      /^Job users-migrations command may write its file system$/,
    ],
    [
      'an image without a version',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          spec.template.spec.containers[0].image = 'promopulse/users:latest';
        }),
      insecurePods,
      /^Deployment users service has the image promopulse\/users:latest without a version$/,
    ],
    [
      'a preStop beside the delay',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          spec.template.spec.containers[0].lifecycle = { preStop: { sleep: { seconds: 5 } } };
        }),
      roughStops,
      /^Deployment users needs a preStop or SHUTDOWN_DELAY_MS, and not both$/,
    ],
    [
      'a grace that is too short',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          spec.template.spec.terminationGracePeriodSeconds = 20;
        }),
      roughStops,
      /^Deployment users is killed before SHUTDOWN_TIMEOUT_MS$/,
    ],
    [
      'a secret that is not mounted',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          spec.template.spec.volumes.find(({ name }: { name: string }) => name === 'secrets').projected.sources.pop();
        }),
      misplacedSecrets,
      /^Deployment users: no secret is mounted at the path of PII_/,
    ],
    [
      'a secret in a variable',
      (manifests) =>
        changed(manifests, 'Deployment', 'users', ({ spec }) => {
          spec.template.spec.containers[0].env.push({ name: 'ACTOR_KEYS', value: 'secret' });
        }),
      misplacedSecrets,
      /^Deployment users: ACTOR_KEYS is a secret in a variable$/,
    ],
    [
      'a secret that the demo does not make',
      (manifests) => manifests.filter(({ metadata }) => !metadata.name.startsWith('actor-keys')),
      missingSecrets,
      /^Deployment gateway: there is no key keys in a secret actor-keys/,
    ],
  ])('%s', (_title, plant, check, says) => {
    expect(check(demo())).not.toContainEqual(expect.stringMatching(says));
    expect(check(plant(demo()))).toContainEqual(expect.stringMatching(says));
  });
});
