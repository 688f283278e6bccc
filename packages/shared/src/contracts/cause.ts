// Which request causes a change, by whom and why. It goes with the change to its event and to the history.

export interface Cause {
  requestId: string;
  /** Who asked: see `actorId` in http/caller/actor-token.ts. Absent or null: nobody is known. */
  actor?: string | null | undefined;
  /** The W3C trace context of the request. Absent when there is no trace. */
  traceparent?: string | undefined;
  /** What the caller wrote in `X-Reason`. It is in the history only. */
  reason?: string | null | undefined;
  /** Absent when the request has no `Idempotency-Key`: a repetition of it is another change. */
  idempotency?: IdempotentRequest | undefined;
}

/** A request that its caller may repeat: its change is made once (database/idempotency/commit-once.ts). */
export interface IdempotentRequest {
  /** The value of `Idempotency-Key`. It may hold anything, also an address, so it is stored only as a digest. */
  key: string;
  /** What a repetition has in common with the first request: method, path, type and body. */
  content: Buffer;
}
