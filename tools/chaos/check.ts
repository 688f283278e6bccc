// What every check of a run reports.

export interface Check {
  promise: string;
  /** How much the check examined, such as `53427 requests`. */
  examined: string;
  breaches: string[];
}
