// The ids that services tell each other and their callers.

/** The largest id: the largest integer that a number in JSON holds exactly. In Postgres ids are of type `bigint`. */
export const maxId = Number.MAX_SAFE_INTEGER;
