// The library: load a scenario, run it on an engine, check what it expects, write its trace. Only
// what is exported here is promised; it changes with the version number.
//
//   const scenario = await loadScenario('shootdown.yaml', {}, loadTrace)
//   const { result } = await simulate(scenario.config, scenario.image, { engine: 'threads' })
//   const facts = runFacts(result, scenario.config.kernel.era, scenario.expectations)
//   checkExpectations(scenario.expectations, facts).every(({ ok }) => ok)

export { EngineError, UserError } from './base/errors.js'
export type { SourcePosition } from './base/errors.js'
export type { Program, ProgramImage, TraceRecords } from './kernel/abi.js'
export type { KernelConfig, KernelEra, SimulationConfig } from './kernel/config.js'
export { CORE_COUNTERS, COUNTER_NAMES, KERNEL_COUNTERS } from './kernel/counters.js'
export type { CounterName } from './kernel/counters.js'
export type { GeometryName, MachineConfig, TlbConfig } from './machine/config.js'
export type { Costs } from './machine/costs.js'
export { COST_SOURCES, MACHINE_PRESETS, TLB_PRESETS } from './machine/presets.js'

export { loadScenario, parseScenario } from './scenario/parse.js'
export type { LoadTrace, Scenario, ScenarioOverrides } from './scenario/scenario.js'
export { scenarioJsonSchema } from './scenario/schema.js'
export { checkExpectations } from './scenario/expect.js'
export type { Expectation, ExpectationResult, RunFacts } from './scenario/expect.js'
export { loadTrace } from './scenario/trace-file.js'

export { simulate } from './engine/simulate.js'
export type { FinishedRun, SimulateOptions } from './engine/simulate.js'
export { ENGINES } from './engine/scheduler-loop.js'
export type { EngineName } from './engine/scheduler-loop.js'
export type { RunResult, TaskResult } from './engine/result.js'
export { runFacts } from './engine/run-facts.js'
export { replayTrace } from './engine/replay.js'
export type { ReplayOptions, ReplayResult } from './engine/replay.js'

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
export { formatTextTrace, saveTextTrace } from './trace/text.js'
export type { TraceHeader } from './trace/text.js'
export { formatFtrace, saveFtrace } from './trace/ftrace-text.js'
export type { FtraceOptions } from './trace/ftrace-text.js'
