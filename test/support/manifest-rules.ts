// What the manifests must keep beyond the types of Kubernetes, each rule as the list of what breaks it.
import { isIP } from 'node:net';
import {
  containersOf,
  environmentOf,
  find,
  type Manifest,
  matches,
  ofKind,
  type Pod,
  podsOf,
  secretFilesOf,
} from './manifests.ts';

/** The Pod Security Standard "restricted", and what we add to it. */
export function insecurePods(manifests: readonly Manifest[]): string[] {
  return podsOf(manifests).flatMap((pod) => {
    const { spec, owner } = pod;
    const { runAsNonRoot, runAsUser, seccompProfile } = spec.securityContext ?? {};
    const problems = [
      runAsNonRoot !== true && 'may run as root',
      !runAsUser && 'has no runAsUser',
      seccompProfile?.type !== 'RuntimeDefault' && 'has no seccomp profile',
      spec.automountServiceAccountToken !== false && 'has a token of the cluster',
      spec.enableServiceLinks !== false && 'gets variables of other Services',
      (spec.hostNetwork || spec.hostPID || spec.hostIPC) && 'is in a namespace of the node',
      (spec.volumes ?? []).some(({ hostPath }) => hostPath) && 'mounts a path of the node',
      ...containersOf(pod).flatMap(({ name, securityContext: context, resources, image = '' }) => [
        context?.allowPrivilegeEscalation !== false && `${name} may get privileges`,
        context?.readOnlyRootFilesystem !== true && `${name} may write its file system`,
        !(context?.capabilities?.drop ?? []).includes('ALL') && `${name} keeps capabilities`,
        (context?.capabilities?.add ?? []).length > 0 && `${name} adds capabilities`,
        !resources?.requests?.cpu && `${name} requests no CPU`,
        (!resources?.limits?.memory || resources.limits.memory !== resources.requests?.memory) &&
          `${name} has a limit of memory that is not its request`,
        !isPinned(image) && `${name} has the image ${image} without a version`,
      ]),
    ];
    return problems
      .filter((problem) => problem !== false && problem !== undefined)
      .map((problem) => `${owner} ${problem}`);
  });
}

function isPinned(image: string): boolean {
  const [, digest, tag] = /(?:@(sha256:[0-9a-f]{64})|:([\w.-]+))$/.exec(image) ?? [];
  return digest !== undefined || (tag !== undefined && /\d+\.\d+/.test(tag));
}

/** Of what selects pods or scales them. */
export function missingTargets(manifests: readonly Manifest[]): string[] {
  const pods = podsOf(manifests);
  const selecting = [
    ...ofKind(manifests, 'Service').map((each) => ({ each, selector: { matchLabels: each.spec.selector } })),
    ...ofKind(manifests, 'PodDisruptionBudget').map((each) => ({ each, selector: each.spec.selector })),
    ...ofKind(manifests, 'NetworkPolicy').map((each) => ({ each, selector: each.spec.podSelector })),
  ];
  const empty = selecting
    .filter(({ selector }) => !pods.some(({ labels }) => matches(selector, labels)))
    .map(({ each }) => `${each.kind} ${each.metadata.name} selects no pod`);
  const unselected = ofKind(manifests, 'Deployment')
    .filter(({ spec }) => !matches(spec.selector, spec.template.metadata.labels))
    .map(({ metadata }) => `Deployment ${metadata.name} does not select its own pods`);
  const scaled = ofKind(manifests, 'HorizontalPodAutoscaler').flatMap(({ metadata, spec }) => {
    const { kind, name } = spec.scaleTargetRef;
    const target = manifests.find((each) => each.kind === kind && each.metadata.name === name);
    if (!target) return [`HorizontalPodAutoscaler ${metadata.name} scales nothing`];
    return target.spec.replicas === undefined ? [] : [`${kind} ${name} has replicas beside its autoscaler`];
  });
  return [...empty, ...unselected, ...scaled];
}

/** Ports by number or by name, of Services, probes and policies, that no container has. */
export function wrongPorts(manifests: readonly Manifest[]): string[] {
  const pods = podsOf(manifests);
  const hasPort = (pod: Pod, port: string | number): boolean =>
    pod.spec.containers.some(({ ports = [] }) =>
      ports.some((each) => each.name === port || each.containerPort === port),
    );
  const services = ofKind(manifests, 'Service').flatMap(({ metadata, spec }) => {
    const selected = pods.filter(({ labels }) => matches({ matchLabels: spec.selector }, labels));
    return (spec.ports as { port: number; targetPort: string }[])
      .filter(({ targetPort }) => !selected.every((pod) => hasPort(pod, targetPort)))
      .map(({ targetPort }) => `Service ${metadata.name} sends to the port ${targetPort}, which its pods have not`);
  });
  const probes = pods.flatMap((pod) =>
    pod.spec.containers.flatMap(({ startupProbe, livenessProbe, readinessProbe }) =>
      [startupProbe, livenessProbe, readinessProbe]
        .flatMap((probe) => (probe?.httpGet ? [probe.httpGet.port] : []))
        .filter((port) => !hasPort(pod, port))
        .map((port) => `${pod.owner} is probed on the port ${port}, which it has not`),
    ),
  );
  const policies = ofKind(manifests, 'NetworkPolicy').flatMap(({ metadata, spec }) => {
    const selected = pods.filter(({ labels }) => matches(spec.podSelector, labels));
    const ports = (spec.ingress ?? []).flatMap((rule: { ports?: { port: string | number }[] }) => rule.ports ?? []);
    return (ports as { port: string | number }[])
      .filter(({ port }) => !selected.every((pod) => hasPort(pod, port)))
      .map(({ port }) => `NetworkPolicy ${metadata.name} opens the port ${port}, which its pods have not`);
  });
  return [...services, ...probes, ...policies];
}

/** Variables that end in _URL and are no secret: their host must be a Service with that port. */
export function brokenUrls(manifests: readonly Manifest[]): string[] {
  return podsOf(manifests).flatMap((pod) =>
    Object.entries(environmentOf(manifests, pod)).flatMap(([name, value]) => {
      if (!/^(USERS|PROMOTIONS|SUBSCRIPTIONS)_(INTERNAL_)?URL$/.test(name)) return [];
      const { hostname, port } = new URL(value);
      const service = manifests.find((each) => each.kind === 'Service' && each.metadata.name === hostname);
      const wanted = name.includes('_INTERNAL_') ? 'internal' : 'public';
      const ports = (service?.spec.ports ?? []) as { name: string; port: number }[];
      const isRight = isIP(hostname) === 0 && ports.some((each) => each.port === Number(port) && each.name === wanted);
      return isRight ? [] : [`${pod.owner}: ${name} is ${value}, which is no ${wanted} port of a Service`];
    }),
  );
}

/** What ends a pod before it has finished, or takes requests while it cannot answer. */
export function roughStops(manifests: readonly Manifest[]): string[] {
  return podsOf(ofKind(manifests, 'Deployment')).flatMap((pod) => {
    const environment = environmentOf(manifests, pod);
    const [container] = pod.spec.containers;
    const { startupProbe, livenessProbe, readinessProbe, lifecycle } = container ?? {};
    const graceMs = (pod.spec.terminationGracePeriodSeconds ?? 30) * 1_000;
    const startSeconds = (startupProbe?.periodSeconds ?? 10) * (startupProbe?.failureThreshold ?? 3);
    const noticedMs = (readinessProbe?.periodSeconds ?? 10) * (readinessProbe?.failureThreshold ?? 3) * 1_000;
    const delayMs = Number(environment.SHUTDOWN_DELAY_MS ?? 0);
    const problems = [
      graceMs <= Number(environment.SHUTDOWN_TIMEOUT_MS ?? 10_000) && 'is killed before SHUTDOWN_TIMEOUT_MS',
      Boolean(lifecycle?.preStop) === delayMs > 0 && 'needs a preStop or SHUTDOWN_DELAY_MS, and not both',
      noticedMs > delayMs && 'stops before its readiness probe can have failed',
      startSeconds < 330 && 'is restarted while it waits for its migrations (300 s) and its database (30 s)',
      livenessProbe?.httpGet?.path !== '/health/live' && 'is not restarted by /health/live',
      startupProbe?.httpGet?.path !== '/health/live' && 'does not start by /health/live',
      readinessProbe?.httpGet?.path !== '/health/ready' && 'does not get requests by /health/ready',
    ];
    return problems.filter((problem) => problem !== false).map((problem) => `${pod.owner} ${problem}`);
  });
}

/** Files of secrets that variables name and nobody mounts, and secrets in a variable itself. */
export function misplacedSecrets(manifests: readonly Manifest[]): string[] {
  return podsOf(manifests).flatMap((pod) => {
    const files = secretFilesOf(pod);
    const environment = Object.entries(environmentOf(manifests, pod));
    const unmounted = environment
      .filter(
        ([name, path]) => name.endsWith('_FILE') && path.startsWith('/run/secrets/promopulse/') && !files.has(path),
      )
      .map(([name]) => `${pod.owner}: no secret is mounted at the path of ${name}`);
    const open = environment
      .filter(
        ([name, value]) =>
          /KEYS?$|PASSWORD$|:\/\/[^/]*:[^/]*@/.test(`${name}`) && value !== '' && !name.endsWith('_FILE'),
      )
      .map(([name]) => `${pod.owner}: ${name} is a secret in a variable`);
    return [...unmounted, ...open];
  });
}

/** Secrets and keys that pods of an overlay mount and that the overlay does not make. */
export function missingSecrets(manifests: readonly Manifest[]): string[] {
  return podsOf(manifests).flatMap((pod) =>
    [...secretFilesOf(pod).values()].flatMap(({ secret, key }) => {
      const found = manifests.find((each) => each.kind === 'Secret' && each.metadata.name === secret);
      return found?.data?.[key] === undefined ? [`${pod.owner}: there is no key ${key} in a secret ${secret}`] : [];
    }),
  );
}

/** Maximum number of pods of a Deployment that run at once during a rollout. */
export function maxPods(manifests: readonly Manifest[], deployment: string): number {
  const { spec } = find(manifests, 'Deployment', deployment);
  const scaler = find(manifests, 'HorizontalPodAutoscaler', deployment).spec;
  return Number(scaler.maxReplicas) + Number(spec.strategy.rollingUpdate.maxSurge);
}
