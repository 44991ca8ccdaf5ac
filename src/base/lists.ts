// Short lists that things are taken from, mostly at an end.

/** Takes the item at `index`: at the ends without the list of what was taken, which Array.splice makes. */
export function removeAt<T>(list: T[], index: number): void {
  if (index === 0) list.shift()
  else if (index === list.length - 1) list.pop()
  else list.splice(index, 1)
}

/** Takes `item`, which is in the list. */
export function removeFrom<T>(list: T[], item: T): void {
  removeAt(list, list.indexOf(item))
}
