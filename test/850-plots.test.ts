// Plots as SVG text: where things are, that the same input gives the same bytes, and that nothing breaks out of it.

import { describe, expect, test } from 'vitest'
import { barsSvg } from '../src/study/plot/bars.js'
import { chartSvg } from '../src/study/plot/chart.js'
import type { Chart } from '../src/study/plot/chart.js'
import { lookOf } from '../src/study/plot/palette.js'
import { pageHtml, tableHtml } from '../src/study/plot/page.js'
import { scaleFor, valueText } from '../src/study/plot/scale.js'
import { coordinate } from '../src/study/plot/svg.js'

const CHART: Chart = {
  title: 'latency & pages',
  x: { label: 'pages' },
  y: { label: 'latency (cycles)' },
  series: [
    { kind: 'band', name: 'accepted', look: 1, points: [[0, 8, 12], [10, 80, 120]] },
    { kind: 'line', name: 'ours', points: [[0, 10], [10, 100]] },
    { kind: 'marker', name: 'published [v]', points: [[0, 11], [10, 90]] },
  ],
  rules: [{ at: 5, label: 'ceiling' }],
}

describe('scales', () => {
  test('a linear axis starts at 0 and ends at a round number', () => {
    const scale = scaleFor({ label: 'y' }, [3, 97], 0, 100)
    expect([scale.min, scale.max, scale.ticks]).toEqual([0, 100, [0, 20, 40, 60, 80, 100]])
    expect([scale.at(0), scale.at(50), scale.at(100)]).toEqual([0, 50, 100])
  })

  test('a logarithmic axis is labelled at powers, equally far apart', () => {
    const scale = scaleFor({ label: 'x', scale: 'log2' }, [1, 64], 0, 600)
    expect(scale.ticks).toEqual([1, 2, 4, 8, 16, 32, 64])
    expect(scale.ticks.map(value => Math.round(scale.at(value)))).toEqual([0, 100, 200, 300, 400, 500, 600])
  })

  test('a logarithmic axis refuses what it cannot show', () => {
    // A decade or two has labels between the powers.
    expect(scaleFor({ label: 'x', scale: 'log10' }, [0.4, 47], 0, 1).ticks).toEqual([0.5, 1, 2, 5, 10, 20])
    expect(scaleFor({ label: 'x', scale: 'log10' }, [1, 5000], 0, 1).ticks).toEqual([1, 10, 100, 1000])
    expect(() => scaleFor({ label: 'x', scale: 'log10' }, [0, 10], 0, 1)).toThrow('cannot show 0')
  })

  test('one value, no value and equal values still give an axis', () => {
    for (const values of [[], [0], [5], [5, 5]]) {
      const scale = scaleFor({ label: 'y' }, values, 100, 0)
      expect(scale.max).toBeGreaterThan(scale.min)
      expect(Number.isFinite(scale.at(scale.max))).toBe(true)
    }
  })

  test('labels have no more digits than matter', () => {
    expect([0, 0.125, 3.5, 12, 250, 1234.4, 12_000, 2_500_000].map(valueText))
      .toEqual(['0', '0.125', '3.5', '12', '250', '1,234', '12,000', '2.5M'])
  })
})

describe('a chart', () => {
  test('has the same bytes every time', () => {
    expect(chartSvg(CHART)).toBe(chartSvg(structuredClone(CHART)))
  })

  test('has its marks where the scale says', () => {
    const svg = chartSvg(CHART)
    // 560 or so pixels for 0 to 10: the line ends at the right border, the rule stands in the middle.
    expect(svg).toContain('<path d="M72 ')
    expect(svg).toMatch(/<line x1="367" x2="367" .*stroke-dasharray="3 3"/)
    expect(svg).toContain('ceiling')
    expect(svg).toContain('latency &amp; pages')
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('hollow markers are filled with paper, bands are below everything', () => {
    const svg = chartSvg(CHART)
    expect(svg).toMatch(/<rect x="[\d.]+" y="[\d.]+" width="8" height="8" fill="#ffffff" stroke="#d55e00"/)
    expect(svg.indexOf('fill-opacity="0.15"')).toBeLessThan(svg.indexOf('stroke-width="2"'))
  })

  test('names cannot become elements', () => {
    const svg = chartSvg({ ...CHART, title: '<script>', series: [{ kind: 'line', name: '"><b>', points: [[0, 1]] }] })
    expect(svg).not.toMatch(/<script|<b>/)
  })

  test('no two of the first twenty looks are alike', () => {
    const looks = Array.from({ length: 20 }, (_, i) => JSON.stringify(lookOf(i)))
    expect(new Set(looks).size).toBe(20)
  })
})

describe('bars', () => {
  const bars = {
    title: 'cost', y: { label: 'cycles' }, categories: ['a', 'b'],
    series: [{ name: 'send', values: [10, 20] }, { name: 'wait', values: [30, undefined] }],
    marks: [{ name: 'published', values: [45, 18], ranges: [[40, 50], undefined] as const }],
  }

  test('stacked ones end at the sum, side by side each at its own value', () => {
    const rect = /<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="[\d.]+" fill="#(?!fff)[^>]*><title>/g
    const tops = (svg: string): number[] => [...svg.matchAll(rect)].map(match => Number(match[1]))
    const stacked = tops(barsSvg({ ...bars, stacked: true }))
    const grouped = tops(barsSvg(bars))
    expect(stacked.length).toBe(3)
    expect(grouped.length).toBe(3)
    expect(Math.min(...stacked)).toBeLessThan(Math.min(...grouped))
    expect(barsSvg(bars)).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('-0 and long fractions do not appear', () => {
    expect([coordinate(-0.001), coordinate(1 / 3), coordinate(2)]).toEqual(['0', '0.33', '2'])
  })
})

describe('a page', () => {
  test('loads nothing and escapes its cells', () => {
    const page = pageHtml({ title: 'a < b', body: tableHtml([{ title: 'n', isNumber: true }], [['<i>']]) })
    expect(page).toContain('default-src')
    expect(page).toContain('<title>a &lt; b</title>')
    expect(page).toContain('<td class="n">&lt;i&gt;</td>')
    expect(page).not.toMatch(/(src|href)=/)
  })
})
