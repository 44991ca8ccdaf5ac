// What the page shows at the moment as one record, and that record as the hash of the page's address, so
// that a view can be sent to somebody else.

export interface View {
  /** Cycles that the timeline shows: [from, to). */
  from: number
  to: number
  /** The cycle that everything beside the timeline is about. */
  cursor: number
  /** Chosen event, CPU and flush request; -1: none. */
  event: number
  cpu: number
  request: number
  /** Address space of the page-table explorer, by ctx_id, and the first address of the chosen page; '': none. */
  mm: number
  page: string
}

/** `c=260122&from=0&to=304259&cpu=1`, without what is as usual. */
export function hashOf(view: View, endCycle: number): string {
  const parts: [string, string][] = [['c', String(Math.round(view.cursor))]]
  if (view.from > 0 || view.to < endCycle) {
    parts.push(['from', String(Math.round(view.from))], ['to', String(Math.round(view.to))])
  }
  if (view.event >= 0) parts.push(['event', String(view.event)])
  if (view.cpu >= 0) parts.push(['cpu', String(view.cpu)])
  if (view.request >= 0) parts.push(['flush', String(view.request)])
  if (view.mm > 0) parts.push(['mm', String(view.mm)])
  if (view.page !== '') parts.push(['page', view.page])
  return parts.map(([key, value]) => `${key}=${value}`).join('&')
}

/** What a hash says, without what makes no sense. */
export function viewOf(hash: string, endCycle: number, cpus: number, events: number): Partial<View> {
  const words = new URLSearchParams(hash.replace(/^#/, ''))
  const number = (key: string, low: number, high: number): number | undefined => {
    const text = words.get(key)
    const value = Number(text)
    return text === null || text === '' || !(value >= low && value <= high) ? undefined : value
  }
  const from = number('from', 0, endCycle)
  const to = number('to', 0, endCycle)
  const hasRange = from !== undefined && to !== undefined && from < to
  const page = words.get('page') ?? ''
  const found = {
    cursor: number('c', 0, endCycle), event: number('event', 0, events - 1), cpu: number('cpu', 0, cpus - 1),
    request: number('flush', 0, events), mm: number('mm', 1, 2 ** 31),
    ...(hasRange ? { from, to } : {}),
    ...(/^0x[0-9a-f]{1,16}$/.test(page) ? { page } : {}),
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}
