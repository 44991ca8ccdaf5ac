// comlink 4.4.2 has no "exports" map and ships node-adapter.mjs without a matching
// .d.mts, so nodenext finds no types for the only ESM path that runs.
declare module 'comlink/dist/esm/node-adapter.mjs' {
  import type { Endpoint } from 'comlink'
  import type { MessagePort, Worker } from 'node:worker_threads'
  export default function nodeEndpoint(port: Worker | MessagePort): Endpoint
}
