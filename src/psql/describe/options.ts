/** What stands behind the name of a \d command: + S x, and the pattern. */
export interface DescribeOptions {
  pattern: string | null;
  isVerbose: boolean;
  /** Whether PostgreSQL's own objects are listed too. */
  withSystem: boolean;
}
