// Perfetto's protobuf messages, as far as we write them: field numbers, and a writer of fields. The numbers
// are those of google/perfetto, protos/perfetto/: trace/trace_packet.proto, trace/track_event/*.proto,
// trace/interned_data/interned_data.proto, trace/ftrace/{ftrace_event_bundle,ftrace_event,sched}.proto and
// common/system_info.proto, as of August 2026; test/data/perfetto.proto says them once more for protoc.
// Nothing here knows what an event means.

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

export const TRACE = { packet: 1 } as const
export const PACKET = {
  ftraceEvents: 1, timestamp: 8, sequenceId: 10, trackEvent: 11, internedData: 12, sequenceFlags: 13,
  systemInfo: 45, trackDescriptor: 60,
} as const
export const SYSTEM_INFO = { utsname: 1 } as const
export const UTSNAME = { sysname: 1, release: 3, machine: 4 } as const
export const TRACK_DESCRIPTOR = {
  uuid: 1, name: 2, thread: 4, parentUuid: 5, counter: 8, childOrdering: 11, siblingOrderRank: 12,
} as const
export const THREAD_DESCRIPTOR = { pid: 1, tid: 2, threadName: 5 } as const
export const COUNTER_DESCRIPTOR = { unit: 3, unitName: 6 } as const
export const TRACK_EVENT = {
  debugAnnotations: 4, type: 9, nameIid: 10, trackUuid: 11, counterValue: 30, flowIds: 47, terminatingFlowIds: 48,
} as const
export const DEBUG_ANNOTATION = { nameIid: 1, intValue: 4, stringValue: 6, pointerValue: 7 } as const
export const INTERNED_DATA = { eventNames: 2, debugAnnotationNames: 3 } as const
export const INTERNED_NAME = { iid: 1, name: 2 } as const
export const BUNDLE = { cpu: 1, event: 2 } as const
export const FTRACE_EVENT = { timestamp: 1, pid: 2, schedSwitch: 4, schedWaking: 20 } as const
export const SCHED_SWITCH = {
  prevComm: 1, prevPid: 2, prevPrio: 3, prevState: 4, nextComm: 5, nextPid: 6, nextPrio: 7,
} as const
export const SCHED_WAKING = { comm: 1, pid: 2, prio: 3, success: 4, targetCpu: 5 } as const

/** TrackEvent.Type. */
export const TYPE_SLICE_BEGIN = 1
export const TYPE_SLICE_END = 2
export const TYPE_INSTANT = 3
export const TYPE_COUNTER = 4
/** TracePacket.SequenceFlags. */
export const SEQ_INCREMENTAL_STATE_CLEARED = 1
export const SEQ_NEEDS_INCREMENTAL_STATE = 2
/** TrackDescriptor.ChildTracksOrdering.EXPLICIT: by siblingOrderRank. */
export const ORDERING_EXPLICIT = 3
/** CounterDescriptor.Unit. */
export const UNIT_COUNT = 2

/** Writes messages field by field; `take` hands over what there is. */
export class ProtoWriter {
  #writer = new BinaryWriter()

  /** A sub-message; `fill` writes its fields. */
  message(field: number, fill: () => void): void {
    this.#writer.tag(field, WireType.LengthDelimited).fork()
    fill()
    this.#writer.join()
  }

  /** An integer of any width: below zero as 64-bit two's complement, as int32 and int64 have it. */
  int(field: number, value: number): void {
    const writer = this.#writer.tag(field, WireType.Varint)
    if (value < 0) writer.int64(value)
    else if (value <= 0xffff_ffff) writer.uint32(value)
    else writer.uint64(value)
  }

  /** An unsigned 64-bit integer in two halves. */
  word64(field: number, hi: number, lo: number): void {
    if (hi === 0) this.int(field, lo >>> 0)
    else this.#writer.tag(field, WireType.Varint).uint64((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0))
  }

  fixed64(field: number, value: number): void {
    this.#writer.tag(field, WireType.Bit64).fixed64(value)
  }

  string(field: number, value: string): void {
    this.#writer.tag(field, WireType.LengthDelimited).string(value)
  }

  /** Fields that another writer has written. */
  raw(bytes: Uint8Array): void {
    this.#writer.raw(bytes)
  }

  /** The bytes so far; the writer is empty afterwards. */
  take(): Uint8Array {
    const bytes = this.#writer.finish()
    this.#writer = new BinaryWriter()
    return bytes
  }
}

/** Numbers for strings of one kind; the first use of each must be written into `InternedData`. */
export class Interner {
  readonly #ids = new Map<string, number>()
  /** Names that were given a number and are not written yet. */
  fresh: { iid: number; name: string }[] = []

  idOf(name: string): number {
    let iid = this.#ids.get(name)
    if (iid === undefined) {
      iid = this.#ids.size + 1
      this.#ids.set(name, iid)
      this.fresh.push({ iid, name })
    }
    return iid
  }
}
