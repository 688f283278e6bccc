// Who may send to whom by the NetworkPolicies: a connection needs a policy of its sender and one of its receiver.
import { type Manifest, matches, ofKind, type Pod } from './manifests.ts';

interface Peer {
  podSelector?: { matchLabels?: Record<string, string> };
  namespaceSelector?: { matchLabels?: Record<string, string> };
  ipBlock?: { cidr: string };
}
interface Rule {
  to?: Peer[];
  from?: Peer[];
  ports?: { port?: number | string; protocol?: string }[];
}
interface Policy {
  podSelector: { matchLabels?: Record<string, string> };
  policyTypes: string[];
  ingress?: Rule[];
  egress?: Rule[];
}

/** A pod of another namespace. */
export interface Stranger {
  namespace: string;
  labels: Record<string, string>;
}

const policiesOf = (manifests: readonly Manifest[], type: string, labels: Record<string, string>): Policy[] =>
  ofKind(manifests, 'NetworkPolicy')
    .map(({ spec }) => spec as Policy)
    .filter(({ podSelector, policyTypes }) => policyTypes.includes(type) && matches(podSelector, labels));

function isPeer({ podSelector, namespaceSelector, ipBlock }: Peer, other: Pod | Stranger): boolean {
  if (ipBlock) return false;
  const isStranger = 'namespace' in other;
  if (isStranger !== Boolean(namespaceSelector)) return false;
  const inNamespace =
    !isStranger || matches(namespaceSelector, { 'kubernetes.io/metadata.name': (other as Stranger).namespace });
  return inNamespace && matches(podSelector, other.labels);
}

function allows(rule: Rule, peers: Peer[] | undefined, other: Pod | Stranger, port: number, names: string[]): boolean {
  const portFits = !rule.ports || rule.ports.some((each) => each.port === port || names.includes(String(each.port)));
  return portFits && (!peers || peers.some((peer) => isPeer(peer, other)));
}

function portNames(pod: Pod | Stranger, port: number): string[] {
  if ('namespace' in pod) return [];
  return pod.spec.containers.flatMap(({ ports = [] }) =>
    ports.filter(({ containerPort }) => containerPort === port).map(({ name }) => String(name)),
  );
}

/** Whether `from` may open a connection to a port of `to`. A pod without a policy may do everything. */
export function mayConnect(
  manifests: readonly Manifest[],
  from: Pod | Stranger,
  to: Pod | Stranger,
  port: number,
): boolean {
  const names = portNames(to, port);
  const leaving = 'namespace' in from ? [] : policiesOf(manifests, 'Egress', from.labels);
  const entering = 'namespace' in to ? [] : policiesOf(manifests, 'Ingress', to.labels);
  const leaves =
    leaving.length === 0 ||
    leaving.some(({ egress = [] }) => egress.some((rule) => allows(rule, rule.to, to, port, names)));
  const enters =
    entering.length === 0 ||
    entering.some(({ ingress = [] }) => ingress.some((rule) => allows(rule, rule.from, from, port, names)));
  return leaves && enters;
}

/** Whether a policy lets a pod reach addresses outside the cluster. */
export function opensInternet(manifests: readonly Manifest[], pod: Pod): boolean {
  return policiesOf(manifests, 'Egress', pod.labels).some(({ egress = [] }) =>
    egress.some(({ to }) => !to || to.some(({ ipBlock }) => ipBlock !== undefined)),
  );
}
