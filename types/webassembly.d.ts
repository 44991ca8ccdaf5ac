// What we use of WebAssembly, which TypeScript declares in lib "dom" only.
declare namespace WebAssembly {
  class Memory {
    /** Pages of 64 KiB. */
    constructor(options: { initial: number; maximum: number; shared: true })
    readonly buffer: SharedArrayBuffer
  }
  class Module {
    constructor(bytes: Uint8Array)
  }
  class Instance {
    constructor(module: Module, imports: { env: { memory: Memory } })
    readonly exports: object
  }
}
