// The price of everything, one named field each, in CPU cycles unless the name says otherwise (GHz, lines).
// Where a preset's value comes from is in presets.ts. How the prices combine: docs/cost-model.md.

export interface Costs {
  /** Core clock, GHz: converts cycles to the seconds of ftrace text. */
  frequencyGhz: number
  /** One access that hits the first-level TLB. */
  access: number
  /** Added when the first level misses and the second-level TLB hits. */
  stlbHit: number
  /** One step of a page walk: reading one entry whose table is cached. */
  walkStep: number
  /** Setting A or D bits in a walk (a locked read-modify-write). */
  setAccessedDirty: number
  /** System call entry and exit together. */
  syscall: number
  /** Page-fault exception entry, minor handling and exit, without zeroing or copying. */
  pageFault: number
  zeroPage: number
  copyPage: number
  /** Reading one page of a file from storage. */
  pageRead: number
  /** Writing one page of a file to storage. */
  pageWrite: number
  /** Reading one page from swap. */
  swapRead: number
  /** Writing one page to swap. */
  swapWrite: number
  /** Clearing, protecting or copying one page-table entry. */
  ptePerPage: number
  /** Freeing one page after a flush. */
  freePage: number
  /** VMA work of mmap, mprotect and madvise. */
  vmaOperation: number
  /** munmap's work beyond madvise's. */
  munmapExtra: number
  invlpg: number
  /** MOV CR3 that flushes the non-global entries. */
  fullFlush: number
  /** Flush of everything, global entries included. */
  fullFlushGlobal: number
  /** MOV CR3 with bit 63 set: nothing is flushed. */
  cr3NoFlush: number
  /** Set-up of a flush request: descriptor, mask scan. */
  flushSetup: number
  /** Preparing call-function requests, once per shootdown. */
  ipiPrepare: number
  /** Sending to one target (ICR write), serial on the sender. */
  ipiSend: number
  /** From the send to the target's interrupt, same socket. */
  ipiWire: number
  /** Added per socket hop. */
  ipiWireHop: number
  irqEntry: number
  irqExit: number
  /** Call-function handler, fixed part. */
  handler: number
  /** Reading one target's completion line: same socket. */
  ackTransfer: number
  /** The same across sockets. */
  ackTransferRemote: number
  /** A line that another CPU of the socket wrote last comes over, for a write. 0: contained in other prices. */
  lineTransfer: number
  /** The same across sockets. */
  lineTransferRemote: number
  /** One write of the interrupt command register in a guest that exits to its host for it: through xAPIC's page. */
  icrExitXapic: number
  /** The same through x2APIC's MSR. */
  icrExitX2apic: number
  /** One such write where the processor virtualises interrupts between CPUs: no exit. Through xAPIC's page. */
  icrVirtualXapic: number
  /** The same through x2APIC's MSR. */
  icrVirtualX2apic: number
  /** Leaving the halted idle state when an interrupt arrives. */
  idleExit: number
  /** Leaving the deep idle state (C6), in which caches and TLBs are off. */
  idleExitDeep: number
  /** A hypercall of a paravirtual guest, entry and exit. */
  hypercall: number
  /** INVLPGB: issuing one broadcast. */
  invlpgb: number
  /** TLBSYNC: until all broadcasts of this CPU are complete everywhere. */
  tlbsync: number
  /** Noting down an invalidation that other CPUs find later (LATR). */
  lazyStateSave: number
  /** Looking for such notes, at a tick or a switch. */
  lazyStateSweep: number
  /** Switching stacks and registers, run-queue work. */
  contextSwitch: number
  /** Waking a task. */
  wakeUp: number
  /** Uncontended lock and unlock of mmap_lock or a page-table lock. */
  lock: number
  /** Duplicating or tearing down task and mm structures (fork, exit). */
  forkBase: number
  /** LLDT with a new descriptor in the GDT. */
  ldtLoad: number
  /** Lines of 64 bytes that the private caches of a CPU hold. 0: caches are not modelled (kernel/smp/cold-path.ts). */
  privateLines: number
  /** Lines that the last-level cache of a socket holds. */
  lastLevelLines: number
  /** Reading a line from the last-level cache, beyond what a hit in the first level takes. */
  lastLevelRead: number
  /** The same from memory of the socket. */
  memoryRead: number
  /** Until other CPUs see a store that no barrier drains. Charged to nobody; only bug switches hold stores back. */
  storeDrain: number
}
