// The order of test files on a machine that has no record of how long they take, as in CI: those of more than
// half a minute first, so that the run does not end with one worker idle for minutes. Files that are
// not named here follow in vitest's own order; a name that is missing costs time and nothing else.

import { BaseSequencer } from 'vitest/node'
import type { TestSpecification } from 'vitest/node'

const LONGEST = ['600-', '800-', '865-', '700-cli-run', '700-cli-test', '225-', '870-sweep', '855-', '445-', '710-']

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONGEST.findIndex(name => moduleId.includes(`/test/${name}`))
      return at < 0 ? LONGEST.length : at
    }
    return sorted.toSorted((a, b) => rank(a) - rank(b))
  }
}
