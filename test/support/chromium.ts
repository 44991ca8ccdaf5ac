// A browser for tests: the one that SHOOTDOWN_CHROMIUM names, or where distributions put it. Tests that
// need one are skipped where there is none, and say so.

import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'

const USUAL = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** Path of a Chromium; undefined when none is found. */
export function findChromium(): string | undefined {
  const named = process.env['SHOOTDOWN_CHROMIUM']
  return [...(named === undefined ? USUAL : [named])].find((path) => existsSync(path))
}

/** Why tests were skipped, on the terminal. */
export const NO_CHROMIUM = 'SKIPPED: no Chromium found; set SHOOTDOWN_CHROMIUM to its path to run the browser tests'

export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

/** What a page complains about and asks for. */
export interface Watched {
  page: Page
  /** Console errors and warnings, exceptions. */
  complaints: string[]
  /** Addresses that were asked for, besides the page itself and data inside it. */
  requests: string[]
}

/** Opens a file as a person would, and waits until the report is there. */
export async function openReport(browser: Browser, file: string, hash = ''): Promise<Watched> {
  const page = await browser.newPage({ viewport: { width: 1500, height: 950 } })
  const watched: Watched = { page, complaints: [], requests: [] }
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') watched.complaints.push(message.text())
  })
  page.on('pageerror', (error) => watched.complaints.push(error.message))
  page.on('request', (request) => {
    if (!request.url().startsWith(`file://${file}`) && !request.url().startsWith('data:')) {
      watched.requests.push(request.url())
    }
  })
  await page.goto(`file://${file}${hash}`)
  await page.waitForSelector('html[data-ready=yes]', { timeout: 30_000 })
  return watched
}

/** Opens a page of plots, which has no script; everything that it says or asks for is a complaint. */
export async function openPlots(browser: Browser, file: string): Promise<Pick<Watched, 'page' | 'complaints'>> {
  const page = await browser.newPage({ viewport: { width: 1300, height: 900 } })
  const complaints: string[] = []
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => {
    if (request.url() !== `file://${file}`) complaints.push(request.url())
  })
  await page.goto(`file://${file}`)
  return { page, complaints }
}
