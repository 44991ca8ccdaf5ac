// The library: load a scenario, run it, look at its events and counters, write its trace. Only what is
// exported here is promised; it changes with the version number. With examples: docs/api.md.
//
//   const run = simulate(await loadScenario('shootdown.yaml'), { signal })
//   for await (const event of run) if (event.name === 'tlb_flush') console.log(event.cycle, event.fields.pages)
//   const { counters, shootdowns, ok } = await run

export { loadScenario, parseScenario } from './api/open.js'
export type { LoadOptions, ParseOptions } from './api/open.js'
export { Run, simulate } from './api/run.js'
export type { RunOptions, SimulationResult } from './api/run.js'

export { InvariantViolation } from './base/assert.js'
export { EngineError, UserError } from './base/errors.js'
export type { SourcePosition } from './base/errors.js'
export type { Program, ProgramImage, TraceRecords } from './kernel/abi.js'
export type { KernelConfig, KernelEra, SimulationConfig } from './kernel/config.js'
export { CORE_COUNTERS, COUNTER_NAMES, KERNEL_COUNTERS } from './kernel/counters.js'
export type { CounterName } from './kernel/counters.js'
export type { GeometryName, MachineConfig, TlbConfig } from './machine/config.js'
export type { Costs } from './machine/costs.js'
export { COST_SOURCES, MACHINE_PRESETS, TLB_PRESETS } from './machine/presets.js'

export type { Scenario, ScenarioNote } from './scenario/scenario.js'
export { scenarioJsonSchema } from './scenario/schema.js'
export type { ScenarioSource } from './scenario/schema.js'
export type { Expectation, ExpectationResult } from './scenario/expect.js'
export { loadTrace } from './scenario/trace-file.js'

export { ENGINES } from './engine/scheduler-loop.js'
export type { EngineName } from './engine/scheduler-loop.js'
export type { TaskResult } from './engine/result.js'
export { replayTrace } from './engine/replay.js'
export type { ReplayOptions, ReplayResult } from './engine/replay.js'

export type { PlacedFailure } from './study/verdict.js'
export { EVENTS, FLUSH_REASONS } from './trace/events.js'
export { EVENT_VOCABULARY } from './trace/vocabulary.js'
export type { EventName, TraceEvent } from './trace/events.js'
export { eventsOf } from './trace/recorder.js'
export type { TraceData } from './trace/recorder.js'
export { summarizeShootdowns } from './trace/summary.js'
export type { Responder, Shootdown } from './trace/summary.js'
export type { CounterSamples } from './trace/samples.js'
export { TRACE_FORMATS } from './trace/formats.js'
export type { TraceFormat, TraceSource } from './trace/formats.js'
export { storyOf } from './trace/story.js'
export type { Story } from './trace/story.js'
export { diffTraces } from './trace/diff.js'
export type { TraceDifference } from './trace/diff.js'
export { parseTextTrace } from './trace/text-parse.js'
export type { TextTrace } from './trace/text-parse.js'
export { formatTextTrace, saveTextTrace } from './trace/text.js'
export type { TraceHeader } from './trace/text.js'
export { formatFtrace, saveFtrace } from './trace/ftrace-text.js'
export type { FtraceOptions } from './trace/ftrace-text.js'
