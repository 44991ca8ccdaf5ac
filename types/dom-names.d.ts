// The DOM names used by comlink's own .d.ts. Cheaper than lib "dom", which would let
// browser globals type-check in a Node program.
declare type Transferable = ArrayBuffer | import('node:worker_threads').MessagePort
declare type EventListenerOrEventListenerObject =
  | ((event: Event) => void)
  | { handleEvent(event: Event): void }
