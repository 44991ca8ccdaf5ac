// Single accesses against the answers of real x86-64 page walkers (test/data/mmu-sample.jsonl:
// each was given alike by at least two of Bochs, QEMU and KVM), and how the oracle takes bad input.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { answerStream, Oracle, type OracleAnswer } from '../src/cli/oracle.js'

interface Sample extends OracleAnswer {
  cat: string
  amd?: OracleAnswer['res']
}

const FILE = join(dirname(fileURLToPath(import.meta.url)), 'data', 'mmu-sample.jsonl')
const LINES = readFileSync(FILE, 'utf8').trimEnd().split('\n')
const WHERE = { file: 'cases.jsonl', line: 3 }

describe('real page walkers', () => {
  const intel = new Oracle('intel')
  const samples = LINES.map((line) => ({ ...JSON.parse(line) as Sample, line }))
  test.each(samples)('agree on case $id, $cat', ({ line, ...sample }) => {
    expect(intel.answer(line, WHERE)).toEqual({ id: sample.id, res: sample.res, after: sample.after })
  })

  test('give the same answers in any order: no case leaves anything behind', () => {
    const oracle = new Oracle('intel')
    const forwards = LINES.map((line) => oracle.answer(line, WHERE))
    const backwards = LINES.toReversed().map((line) => oracle.answer(line, WHERE))
    expect(backwards.toReversed()).toEqual(forwards)
  })

  test('of AMD differ on one case here: bit 8 of a top-level entry is reserved', () => {
    const amd = new Oracle('amd')
    const different = LINES.filter((line) => {
      const sample = JSON.parse(line) as Sample
      return JSON.stringify(amd.answer(line, WHERE).res) !== JSON.stringify(sample.amd ?? sample.res)
    })
    // The file has no AMD answer for this case (no AMD machine was asked); AMD APM vol. 2, 5.3.3 marks the bit MBZ.
    expect(different.map((line) => (JSON.parse(line) as Sample).cat)).toEqual(['nonleafG'])
  })
})

describe('a case file', () => {
  const answerText = async (text: string): Promise<string> => {
    let output = ''
    await answerStream(Readable.from([text]), 'cases.jsonl', 'intel', async (chunk) => {
      output += chunk
    })
    return output
  }

  test('is answered line by line; blank lines are passed over', async () => {
    expect(await answerText(`${LINES[0]}\n\n${LINES[6]}\n`)).toBe(
      '{"id":1,"res":{"ok":"0x414d9b08"},"after":[["0x10f67f8","0x1007027"],["0x1007658","0x400000af"]]}\n' +
      '{"id":7,"res":{"gp":0},"after":[]}\n')
  })

  test('may come in pieces that end anywhere', async () => {
    const bytes = Buffer.from(`${LINES[0]}\r\n${LINES[6]}`)
    const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) => bytes.subarray(7 * i, 7 * i + 7))
    let output = ''
    await answerStream(Readable.from(pieces), 'cases.jsonl', 'intel', async (chunk) => { output += chunk })
    expect(output.trim().split('\n').map((line) => (JSON.parse(line) as { id: number }).id)).toEqual([1, 7])
  })

  test('may put tables above the memory that is an array, and give a word twice: the later counts', () => {
    const line = JSON.stringify({
      ...JSON.parse(LINES[6]!) as object, cr3: '0x9000000000', va: '0x0', cpl: 0, acc: 'r',
      mem: [['0x9000000000', '0x0'], ['0x9000000000', '0x9000001003'], ['0x9000001000', '0x83']],
    })
    expect(new Oracle('intel').answer(line, WHERE)).toEqual({
      id: 7, res: { ok: '0x0' }, after: [['0x9000000000', '0x9000001023'], ['0x9000001000', '0xa3']],
    })
  })

  test.each([
    ['{', /^cases\.jsonl:3:1: not a JSON object/],
    ['[1]', /not a JSON object/],
    ['{}', /"id" must be a number, found nothing/],
    [LINES[0]!.replace('"cpl":3', '"cpl":1'), /"cpl" must be 0 or 3, found 1/],
    [LINES[0]!.replace('"acc":"r"', '"acc":"z"'), /"acc" must be r or w or x, found "z"/],
    [LINES[0]!.replace('"va":"0x', '"va":"0xzz'), /"va" must be a 64-bit number such as "0x1000"/],
    [LINES[0]!.replace('"0x10f67f8"', '"0x10f67f9"'), /"mem"\[0\] address must be a multiple of 8/],
    [LINES[0]!.replace('"0x10f67f8"', '"0x100000010f67f8"'), /"mem"\[0\] address is above 2\^40/],
  ])('with a bad line is refused with its place: %s', (line, message) => {
    try {
      new Oracle('intel').answer(line, WHERE)
      expect.unreachable()
    } catch (error) {
      expect((error as { format(): string }).format()).toMatch(message)
    }
  })
})
