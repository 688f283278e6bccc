// What a service keeps of other services: one declaration for each owner, from which its statements, the consumer of its
// events and the readings of the owner are made.
import type { z } from 'zod';
import type { EventName } from '../contracts/index.ts';
import type { QueueName } from '../contracts/queues.ts';
import { eventPrefix, type ServiceName } from '../contracts/services.ts';
import type { DigestedColumns } from '../database/digest.ts';

interface Identity {
  id: number;
  version: number;
}

/** What is used of an event or of an owner's answer. Its other fields are the columns of the projection with these names. */
export interface ProjectedState extends Identity {
  readonly [column: string]: unknown;
}

type ColumnType = 'bigint' | 'boolean' | 'text' | 'timestamptz';

/** The events of a service: those of `users` begin with `user.` */
type EventOf<Owner> = Extract<EventName, `${SingularOf<Owner & string>}.${string}`>;
type SingularOf<Name extends string> = Name extends `${infer Singular}s` ? Singular : Name;

interface ProjectionDeclaration<Owner, State> {
  /** Has `relianceColumns` beside the columns named here. */
  table: string;
  /** The column of the id. */
  id: string;
  /** The columns of the other fields of the state. None is nullable. */
  contents: { readonly [Column in Exclude<keyof State, keyof Identity>]: ColumnType };
  /** The column of the status, where the digests of the owner cover one. */
  digestedStatus?: string;
  /** SQL condition: the owner has the row. Default: it is not lost. */
  present?: string;
  /** A table whose rows refer to the owner's, by a column with the name of `id`. */
  dependents?: string;
  /** False: the owner cannot tell what has changed since a time, so every reading compares all rows. Default: true. */
  hasChanges?: boolean;
  /** Maximum number of rows that are read at once: at most the `maxLimit` of the owner's route. */
  pageSize: number;
  /** What is parsed of an owner's answer. Nothing else is, so all else may change. */
  state: z.ZodType<State>;
  /** What is parsed of each event. */
  events: Readonly<Record<EventOf<Owner>, z.ZodType<State>>>;
}

interface ProjectionsDeclaration<States> {
  service: ServiceName;
  queue: QueueName;
  owners: { readonly [Owner in keyof States]: ProjectionDeclaration<Owner, States[Owner] & Identity> };
}

/** The state of one owner, as the service keeps it. */
export interface Projection {
  owner: ServiceName;
  table: string;
  id: string;
  contents: readonly { column: string; type: ColumnType }[];
  digested: DigestedColumns;
  present: string;
  dependents: string | undefined;
  hasChanges: boolean;
  pageSize: number;
  state: z.ZodType<ProjectedState>;
  /** By the name of the event. */
  events: Readonly<Partial<Record<string, z.ZodType<ProjectedState>>>>;
}

/** All projections of a service. */
export interface Projections<Owner extends ServiceName = ServiceName> {
  service: ServiceName;
  queue: QueueName;
  owners: Readonly<Record<Owner, Projection>>;
  /** The same as a list. */
  all: readonly Projection[];
}

/** What a function needs that works with the projections of any service. */
export type AnyProjections = Omit<Projections, 'owners'>;

export function defineProjections<States extends Partial<Record<ServiceName, Identity>>>({
  service,
  queue,
  owners,
}: ProjectionsDeclaration<States>): Projections<keyof States & ServiceName> {
  type Owner = keyof States & ServiceName;
  const declarations = Object.entries(owners) as [Owner, ProjectionDeclaration<string, ProjectedState>][];
  const all = declarations.map(([owner, declaration]) => projectionOf(owner, declaration));
  const byOwner = Object.fromEntries(all.map((each) => [each.owner, each])) as Record<Owner, Projection>;
  return { service, queue, owners: byOwner, all };
}

function projectionOf(
  owner: ServiceName,
  { contents, digestedStatus, ...declared }: ProjectionDeclaration<string, ProjectedState>,
): Projection {
  const columns = Object.entries(contents as Record<string, ColumnType>);
  return {
    present: 'lost_at is null',
    dependents: undefined,
    hasChanges: true,
    ...declared,
    owner,
    contents: columns.map(([column, type]) => ({ column, type })),
    digested: { id: declared.id, version: 'version', ...(digestedStatus && { status: digestedStatus }) },
  };
}

/** @returns undefined for an event of a service that is not projected */
export function projectionOfEvent({ all }: AnyProjections, eventName: string): Projection | undefined {
  return all.find(({ owner }) => eventName.startsWith(eventPrefix(owner)));
}

/** Makes something of a projection once, such as its statements. */
export function oncePerProjection<Value>(make: (projection: Projection) => Value): (projection: Projection) => Value {
  const made = new WeakMap<Projection, Value>();
  return (projection) => {
    const known = made.get(projection);
    if (known !== undefined) return known;
    const value = make(projection);
    made.set(projection, value);
    return value;
  };
}
