// How fast a report opens, zooms and searches, in Chromium: `node dist/test/bench/report-page.js FILE.html`.
// Prints milliseconds; nothing is asserted.

import { resolve } from 'node:path'
import { statSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { findChromium, launchChromium, NO_CHROMIUM, openReport } from '../support/chromium.js'

const RUNS = 5
const ZOOM_STEPS = 30

const file = process.argv[2]
const path = findChromium()
if (file === undefined || path === undefined) {
  process.stderr.write(`${path === undefined ? NO_CHROMIUM : 'usage: report-page FILE.html'}\n`)
  process.exit(2)
}

const browser = await launchChromium(path)
const opened: number[] = []
const zoomed: number[] = []
let whole = 0
for (let run = 0; run < RUNS; run++) {
  const started = performance.now()
  const { page } = await openReport(browser, resolve(file))
  opened.push(performance.now() - started)
  whole = await redraw(page)
  const box = (await page.locator('canvas.timeline').boundingBox())!
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height / 2)
  for (let step = 0; step < ZOOM_STEPS; step++) {
    await page.mouse.wheel(0, -120)
    zoomed.push(await redraw(page))
  }
  await page.close()
}
await browser.close()
process.stdout.write([
  `file    ${(statSync(file).size / 1e6).toFixed(1)} MB`,
  `open    median ${median(opened).toFixed(0)} ms of ${RUNS}, best ${Math.min(...opened).toFixed(0)} ms`,
  `redraw  whole run ${whole.toFixed(1)} ms; zooming median ${median(zoomed).toFixed(1)} ms, `
    + `95 % below ${quantile(zoomed, 0.95).toFixed(1)} ms`,
  '',
].join('\n'))

/** Waits for the frame and gives what its drawing took, as the page has measured it. */
async function redraw(page: Page): Promise<number> {
  await page.evaluate('new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)))')
  return Number(await page.getAttribute('#timeline', 'data-draw-ms'))
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ?? NaN
}
