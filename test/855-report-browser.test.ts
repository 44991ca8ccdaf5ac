// Reports in a real browser: they open, zoom, search and show what is clicked, without a complaint on
// the console and without asking the network for anything.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { shootdown, temporaryFolder } from './support/cli.js'
import { findChromium, launchChromium, NO_CHROMIUM, openReport } from './support/chromium.js'

const path = findChromium()
if (path === undefined) process.stderr.write(`${NO_CHROMIUM}\n`)

describe.skipIf(path === undefined)('a report in Chromium', () => {
  let browser: Browser
  let folder = ''
  let shootdownPage = ''
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shootdown-report-'))
    browser = await launchChromium(path!)
    shootdownPage = await reportOf('02-shootdown', folder)
  })
  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('opens without a complaint and without a request, and says what was run', async () => {
    const { page, complaints, requests } = await openReport(browser, shootdownPage)
    expect(await page.textContent('#title')).toBe('shootdown')
    expect(await page.textContent('#question')).toBe('Who gets an interrupt when one thread unmaps three pages?')
    expect(await page.textContent('#facts')).toContain('skl-2s, 4 CPUs')
    expect(await page.textContent('#trace-count')).toBe('136 events')
    expect(await page.textContent('#legend')).toMatch(/user.*kernel.*lazy/)
    expect(await page.textContent('#tasks')).toContain('sleeper')
    expect(await page.textContent('#stolen')).toContain('in handlers for other CPUs')
    expect(await page.locator('#histogram rect[height]').count()).toBeGreaterThan(0)
    expect(await page.locator('#expect .ok').count()).toBe(7)
    expect(await paintedColours(page)).toBeGreaterThan(6)
    expect(complaints).toEqual([])
    expect(requests).toEqual([])
  })

  test('zooms with the wheel, the keyboard and the buttons, and pans', async () => {
    const { page, complaints } = await openReport(browser, shootdownPage)
    const length = async (): Promise<number> => {
      await nextFrame(page)
      const words = new URLSearchParams(new URL(page.url()).hash.slice(1))
      return words.has('from') ? Number(words.get('to')) - Number(words.get('from')) : Infinity
    }
    expect(await length()).toBe(Infinity)
    const box = (await page.locator('canvas.timeline').boundingBox())!
    await page.mouse.move(box.x + box.width / 2, box.y + 80)
    await page.mouse.wheel(0, -240)
    const once = await length()
    expect(once).toBeLessThan(304_259)
    await page.keyboard.press('+')
    const twice = await length()
    expect(Math.abs(twice - once / 2)).toBeLessThan(3)
    await page.click('#zoom-in')
    expect(await length()).toBeLessThan(twice)
    const from = (): string | null => new URLSearchParams(new URL(page.url()).hash.slice(1)).get('from')
    const before = Number(from())
    await page.keyboard.press('ArrowRight')
    await nextFrame(page)
    expect(Number(from())).toBeGreaterThan(before)
    await page.keyboard.press('0')
    expect(await length()).toBe(Infinity)
    expect(complaints).toEqual([])
  })

  test('searches the trace, steps through what was found and keeps the timeline in step', async () => {
    const { page, complaints } = await openReport(browser, shootdownPage)
    await page.keyboard.press('/')
    await page.keyboard.type('flush_ack')
    await page.waitForFunction("document.getElementById('search-status').textContent.endsWith('found')")
    const count = await page.textContent('#search-status')
    expect(count).toMatch(/^\d+ found$/)
    await page.keyboard.press('Enter')
    await nextFrame(page)
    expect(await page.textContent('#search-status')).toMatch(/^1 of \d+$/)
    expect(await page.textContent('.line.current')).toContain('flush_ack')
    expect(await page.textContent('.line.current mark')).toBe('flush_ack')
    const cycle = new URLSearchParams(new URL(page.url()).hash.slice(1)).get('c')
    expect(await page.textContent('.line.current .cycle')).toContain(cycle)
    await page.check('#search-only')
    expect(await page.textContent('#trace-count')).toMatch(/^\d+ of 136 events$/)
    expect(complaints).toEqual([])
  })

  test('a click on a lane puts the cursor there and shows the line of the trace', async () => {
    const { page } = await openReport(browser, shootdownPage)
    const box = (await page.locator('canvas.timeline').boundingBox())!
    await page.mouse.click(box.x + box.width / 2, box.y + 60)
    await nextFrame(page)
    const words = new URLSearchParams(new URL(page.url()).hash.slice(1))
    expect(Number(words.get('c'))).toBeGreaterThan(100_000)
    expect(words.get('cpu')).toBe('0')
    expect(await page.locator('.line.current').count()).toBe(1)
  })

  test('a click on a page shows its walk, its TLBs and who wrote its entry', async () => {
    const { page, complaints } = await openReport(browser, shootdownPage, '#c=262122&cpu=0')
    await page.waitForSelector('.cell.gone')
    // Three pages are unmapped and not flushed by the others yet: two CPUs and the lazy one still hold them.
    expect(await page.locator('.cell.gone.pending').count()).toBe(3)
    await page.locator('.cell.gone').first().click()
    await page.waitForSelector('.cell.gone.chosen')
    expect(await page.textContent('.walk')).toMatch(/CR3.*pgd\[0\].*pud\[0\].*pmd\[128\].*pte\[4\].*#PF/)
    expect(await page.textContent('.walk')).toContain('the pte entry is empty')
    expect(await page.textContent('#tables')).toContain('pending')
    await page.locator('.cell.dirty').first().click()
    await page.waitForSelector('.cell.dirty.chosen')
    expect(await page.textContent('.walk')).toContain('4 KiB page')
    expect(await page.textContent('.split')).toMatch(/sign.*pgd 0.*pud 0.*pmd 128.*pte 0.*offset/)
    expect(page.url()).toContain('page=0x0000000010000000')
    expect(complaints).toEqual([])
  })

  test('shows the first shootdown at once and the others by key: who was interrupted, who was not', async () => {
    const { page, complaints } = await openReport(browser, shootdownPage)
    await page.waitForSelector('#story .card')
    const story = await page.textContent('#story')
    expect(story).toContain('Flush request of main-1 on cpu0 at cycle 260,122')
    expect(story).toContain('cpu0 → cpu2interrupt: flushes 3 pages (remote shootdown), 750 cycles in the handler')
    expect(story).toContain('cpu3no interrupt: skipped, lazy')
    await page.keyboard.press(']')
    await nextFrame(page)
    expect(await page.textContent('#story')).toMatch(/Flush request of \S+ on cpu3/)
    expect(await page.textContent('.line.current')).toContain('flush_begin')
    await page.keyboard.press('[')
    await nextFrame(page)
    expect(await page.textContent('#story')).toContain('main-1 on cpu0')
    expect(complaints).toEqual([])
  })

  test('on paper there are no buttons', async () => {
    const { page, complaints } = await openReport(browser, shootdownPage)
    await page.emulateMedia({ media: 'print' })
    expect(await page.isVisible('#share')).toBe(false)
    expect(await page.isVisible('#title')).toBe(true)
    await nextFrame(page)
    expect(complaints).toEqual([])
  })

  test('a link opens the same view, and keys and help are there', async () => {
    const { page, complaints } = await openReport(browser, shootdownPage,
      '#c=260122&from=258000&to=268000&cpu=0')
    expect(await page.textContent('.line.current')).toContain('flush_begin')
    await page.keyboard.press('?')
    expect(await page.isVisible('#help')).toBe(true)
    expect(await page.textContent('#help')).toContain('next shootdown')
    await page.keyboard.press('Escape')
    await page.keyboard.press('t')
    expect(await page.getAttribute('html', 'data-theme')).toBe('dark')
    expect(complaints).toEqual([])
  })
})

describe('the file', () => {
  test('allows its own script and style and no connection', async () => {
    const text = readFileSync(await reportOf('01-first-walk', temporaryFolder()), 'utf8')
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(text)![1]!
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'; img-src data:;/)
    expect(text).not.toMatch(/(src|href)="https?:/)
  })

  test('a name that is no page is refused before anything runs', async () => {
    const { code, stderr } = await shootdown(['run', 'scenarios/tour/01-first-walk.yaml', '--report', 'out.txt'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('expected a name that ends in .html')])
  })

  test('one page is for one scenario', async () => {
    const files = ['scenarios/tour/01-first-walk.yaml', 'scenarios/tour/02-shootdown.yaml']
    const { code, stderr } = await shootdown(['run', ...files, '--report', 'out.html'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('--report is for one scenario, but there are 2')])
  })
})

/** Path of the report of a scenario of the tour. */
async function reportOf(name: string, folder: string): Promise<string> {
  const file = join(folder, `${name}.html`)
  const { code, stderr } = await shootdown(
    ['run', `scenarios/tour/${name}.yaml`, '--engine', 'inline', '--report', file])
  expect([code, stderr]).toEqual([0, ''])
  return file
}

// What runs in the page is text: the project's own types know no browser.

function nextFrame(page: Page): Promise<unknown> {
  return page.evaluate('new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)))')
}

/** How many different colours the timeline has. */
function paintedColours(page: Page): Promise<number> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector('canvas.timeline')
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    return new Set(new Uint32Array(data.buffer)).size
  })()`)
}
