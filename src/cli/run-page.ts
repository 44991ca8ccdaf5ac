// `--report FILE.html`: the run as a page to look at (src/report).

import { extname } from 'node:path'
import { assert } from '../base/assert.js'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { packRun } from '../report/pack-run.js'
import { writeReport } from '../report/report.js'
import { metaOf } from '../report/run-meta.js'
import type { RunReport } from './run-report.js'
import { checkWritable } from './run-trace.js'

/** Where a page goes. */
export interface ReportTarget {
  readonly path: string
  /** Writes it completely or not at all. The run was recorded. */
  save(report: RunReport): void
}

/** Throws a UserError now for a file that could not be written later. */
export function openReportTarget(path: string): ReportTarget {
  if (!/^\.html?$/i.test(extname(path))) {
    throw new UserError(`--report ${path}: a report is an HTML page`, undefined, ['expected a name that ends in .html'])
  }
  checkWritable(path)
  return {
    path,
    save: ({ scenario, result, expectations, command }) => {
      const { recording, trace } = result
      assert(recording !== undefined, 'the run was not recorded')
      const meta = metaOf({ scenario, result, recording, expectations: expectations ?? [], command })
      const block = packRun(meta, trace, recording)
      writeFileAtomic(path, (write) => writeReport(scenario.name, block, write))
    },
  }
}
