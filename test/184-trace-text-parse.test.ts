// Reading canonical trace text back: what was written comes back byte for byte, and what is wrong
// with a file is told with its place.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { simulateHere } from '../src/engine/simulate.js'
import { loadScenario } from '../src/scenario/parse.js'
import { EVENTS } from '../src/trace/events.js'
import { TraceRecorder } from '../src/trace/recorder.js'
import { formatTextTrace } from '../src/trace/text.js'
import { parseTextTrace } from '../src/trace/text-parse.js'
import type { TraceHeader } from '../src/trace/text.js'

const HEADER: TraceHeader = { scenario: 'two writers', era: 'linux-6.x', cpus: 4, seed: 7, frequencyGhz: 2.5 }
const HEADER_TEXT = formatTextTrace(new TraceRecorder().finish(), HEADER).replace('# events: 0\n', '')
const LINE = '         121 [000] writer-101 tlb_flush pages=3 reason=TLB_REMOTE_SEND_IPI\n'

function messageOf(text: string): string {
  try {
    parseTextTrace(text, 't.trace')
  } catch (error) {
    if (error instanceof UserError) return error.format()
    throw error
  }
  return 'no error'
}

describe('round trip', () => {
  test('every event of a real run', async () => {
    const scenario = await loadScenario('scenarios/tour/06-fork-cow.yaml', {}, () => { throw new Error('no trace') })
    const { result } = await simulateHere(scenario.config, scenario.image)
    const text = formatTextTrace(result.trace, HEADER)
    const { header, data, firstLine } = parseTextTrace(text, 't.trace')
    expect(header).toEqual(HEADER)
    expect(firstLine).toBe(8)
    expect(data.length).toBe(result.trace.length)
    expect(formatTextTrace(data, header)).toBe(text)
  })

  test('every kind of event, with any words and any text', () => {
    const record = fc.record({
      kind: fc.nat(EVENTS.length - 1), step: fc.nat(3), cpu: fc.nat(3), pid: fc.nat(32768),
      comm: fc.string({ minLength: 1, maxLength: 15 }), text: fc.string({ maxLength: 20 }),
      words: fc.array(fc.integer(), { minLength: 6, maxLength: 6 }), reason: fc.nat(7),
    })
    fc.assert(fc.property(fc.array(record, { maxLength: 20 }), (records) => {
      const recorder = new TraceRecorder()
      let cycle = 0
      for (const { kind, step, cpu, pid, comm, text, words, reason } of records) {
        cycle += step + 1
        const [a, b, c, d, e, f] = wordsOf(recorder, kind, words, text, reason)
        recorder.record(kind, cycle, cpu, pid, recorder.intern(comm), 0, a, b, c, d, e, f)
      }
      const text = formatTextTrace(recorder.finish(), HEADER)
      expect(formatTextTrace(parseTextTrace(text, 't.trace').data, HEADER)).toBe(text)
    }), { numRuns: 300 })
  })
})

/** Words that fit the fields of a kind. */
function wordsOf(recorder: TraceRecorder, kind: number, words: number[], text: string, reason: number): number[] {
  const fitting: number[] = []
  for (const field of EVENTS[kind]!.fields) {
    if (field.type === 'string') fitting.push(recorder.intern(text))
    else if (field.type === 'reason') fitting.push(reason)
    else if (field.type === 'address') fitting.push(words.pop() ?? 1, words.pop() ?? 2)
    else fitting.push(words.pop() ?? 3)
  }
  return fitting
}

describe('a file that is no trace', () => {
  test.each([
    ['another version', HEADER_TEXT.replace('v1', 'v0'),
      't.trace:1:1: this trace has format version 0, this program reads version 1\nwrite it anew with this program'],
    ['ftrace text', '# tracer: nop\n#\n', 't.trace:1:1: this is ftrace text, not a trace in the canonical form\n'
      + 'expected "# shootdown trace v1"'],
    ['something else', 'hello\n', 't.trace:1:1: this is not a trace: expected "# shootdown trace v1", found "hello"'],
    ['an empty file', '', 't.trace:1:1: this is not a trace: expected "# shootdown trace v1", found ""'],
    ['a header without an era', HEADER_TEXT.replace('linux-6.x', 'bsd'),
      't.trace:7:1: the header names no kernel era: expected one of linux-4.6, linux-6.x'],
    ['a cut line', `${HEADER_TEXT}${LINE}${LINE.slice(0, 40)}`,
      't.trace:8:1: the last line is cut off: the file is not complete'],
    ['a trace cut at the end of a line', `${HEADER_TEXT}# events: 2\n${LINE}`,
      't.trace:9:1: the header says 2 events, the file has 1: it is not complete'],
    ['an unknown event', HEADER_TEXT + LINE.replace('tlb_flush', 'tlb_flash'),
      't.trace:7:31: unknown event "tlb_flash"'],
    ['a missing field', HEADER_TEXT + LINE.replace('pages=3 ', ''),
      't.trace:7:41: expected "pages=" of tlb_flush, found "reason=TLB_REMOTE_SEND_IPI"'],
    ['a bad value', HEADER_TEXT + LINE.replace('=3', '=3x'),
      't.trace:7:47: pages: expected a whole number, found "3x"'],
    ['an unknown reason', HEADER_TEXT + LINE.replace('REMOTE_SEND', 'SEND'),
      't.trace:7:56: reason: expected the name of a flush reason, found "TLB_SEND_IPI"'],
    ['events out of order', HEADER_TEXT + LINE + LINE.replace('121', '120'),
      't.trace:8:1: out of order: cycle 120 of cpu0 comes after cycle 121 of cpu0'],
    ['a CPU that does not exist', HEADER_TEXT + LINE.replace('000', '009'),
      't.trace:7:14: CPU 9, but the header says 4 CPUs'],
    ['a line of something else', `${HEADER_TEXT}\u0000\u0001\n`,
      't.trace:7:1: expected "cycle [cpu] comm-pid event ...", found "??"'],
    ['words behind the fields', HEADER_TEXT + LINE.replace('IPI', 'IPI x'),
      't.trace:7:76: unexpected "x" behind the fields'],
  ])('%s', (_name, text, message) => {
    expect(messageOf(text)).toBe(message)
  })
})
