// The style of a report page: light and dark, and what is left out on paper.

export const STYLE = `
:root { color-scheme: light; --bg: #ffffff; --card: #ffffff; --soft: #f4f6f9; --line: #e3e7ee; --text: #1b2330;
  --dim: #667085; --accent: #0072b2; --cursor: #b3261e; --mark: #ffe58a; --ok: #007a5a; --bad: #b3261e;
  --flush: #b3261e; --ipi: #8a4b00; --sched: #0072b2; --mm: #8a3b76; }
:root[data-theme=dark] { color-scheme: dark; --bg: #12161d; --card: #171c25; --soft: #1d2430; --line: #2a3240;
  --text: #e8ecf2; --dim: #98a2b3; --accent: #5fb3ea; --cursor: #ff7a70; --mark: #6b5a12; --ok: #3ddba4;
  --bad: #ff7a70; --flush: #ff9d94; --ipi: #f0b429; --sched: #6dbdf2; --mm: #e09ccb; }
* { box-sizing: border-box; }
body { margin: 0; padding: 14px 20px 28px; background: var(--bg); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header { display: flex; gap: 16px; align-items: flex-start; }
.head { flex: 1; min-width: 0; }
h1 { margin: 0; font-size: 26px; line-height: 1.2; letter-spacing: -0.01em; }
#question { margin: 3px 0 0; color: var(--dim); font-size: 16px; }
.tools, .zoom { display: flex; gap: 6px; }
button { font: inherit; font-size: 14px; color: var(--text); background: var(--soft); border: 1px solid var(--line);
  border-radius: 7px; padding: 3px 11px; cursor: pointer; }
button:hover { border-color: var(--accent); }
button:focus-visible, input:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--accent);
  outline-offset: 1px; }
#facts { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 10px 0 12px; }
#facts div { display: flex; gap: 7px; }
dt { color: var(--dim); }
dd { margin: 0; }
main { display: grid; grid-template-columns: minmax(0, 1fr) minmax(360px, 36%); gap: 16px;
  height: min(clamp(440px, 64vh, 900px), var(--main-height, 900px)); }
main > section { display: flex; flex-direction: column; min-height: 0; min-width: 0; }
.bar { display: flex; align-items: center; gap: 10px; min-height: 34px; margin-bottom: 6px; flex-wrap: wrap; }
.bar .legend { flex: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; font-size: 13px; }
.legend span { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.swatch { display: inline-block; width: 13px; height: 13px; border-radius: 3px; flex: none; }
.swatch.strip { height: 5px; border-radius: 1px; }
.sign { width: 26px; height: 12px; flex: none; }
#overview { height: 34px; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; cursor: grab;
  margin-bottom: 8px; flex: none; }
#overview canvas { display: block; width: 100%; height: 100%; }
#timeline { flex: 1; min-height: 0; position: relative; overflow: hidden auto; border: 1px solid var(--line);
  border-radius: 8px; }
canvas.timeline { display: block; cursor: crosshair; touch-action: none; }
.tip { position: absolute; top: 0; left: 0; width: 238px; padding: 7px 10px; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 4px 16px rgb(0 0 0 / 16%); font-size: 13px;
  pointer-events: none; z-index: 3; }
.dim { color: var(--dim); }
#search { flex: 1 1 130px; min-width: 100px; font: inherit; font-size: 14px; padding: 4px 9px; color: var(--text);
  background: var(--soft); border: 1px solid var(--line); border-radius: 7px; }
.right .bar { font-size: 13px; }
.right label { display: inline-flex; gap: 4px; align-items: center; }
#trace { position: relative; flex: 1; overflow: hidden auto; border: 1px solid var(--line); border-radius: 8px;
  font: 12.5px/22px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; contain: strict; }
.space { width: 1px; }
.lines { position: sticky; top: 0; height: 0; }
.line { height: 22px; padding: 0 8px; white-space: pre; overflow: hidden; text-overflow: ellipsis; cursor: pointer;
  border-left: 3px solid transparent; }
.line:hover { background: var(--soft); }
.line.same-cpu { background: var(--soft); }
.line.current { border-left-color: var(--cursor); background: color-mix(in srgb, var(--cursor) 13%, var(--bg)); }
.line .cycle, .line .cpu, .line .task { color: var(--dim); }
.line .name { font-weight: 600; }
.group-flush { color: var(--flush); } .group-ipi { color: var(--ipi); } .group-sched { color: var(--sched); }
.group-fault { color: var(--bad); } .group-mm { color: var(--mm); }
mark { background: var(--mark); color: inherit; border-radius: 2px; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(360px, 1fr)); gap: 16px; margin-top: 16px; }
.panel { border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px 14px; background: var(--card);
  min-width: 0; }
.panel.wide { grid-column: 1 / -1; }
h2 { margin: 0 0 8px; font-size: 17px; }
h3 { margin: 10px 0 5px; font-size: 14px; font-weight: 600; color: var(--dim); }
code, .mono { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
table { border-collapse: collapse; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--dim); padding: 2px 14px 2px 0; }
td { padding: 2px 14px 2px 0; vertical-align: top; }
td.number, th.number { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums; }
.chart { width: 100%; height: auto; display: block; }
.chart-text { fill: var(--dim); font-size: 11.5px; font-family: ui-monospace, monospace; }
.rule { stroke: var(--line); } .bar-fill { fill: var(--accent); cursor: pointer; } .bar-fill:hover { opacity: 0.75; }
.panel p { margin: 4px 0 6px; } .panel ul { margin: 4px 0; padding-left: 20px; } .checks { list-style: none; }
.panel ul.checks { padding-left: 2px; } .checks .ok { color: var(--ok); } .checks .bad { color: var(--bad); }
.panel code { overflow-wrap: anywhere; }
table.stolen { width: 100%; } .stolen .bars { width: 40%; } .stolen .bars i { display: block; height: 9px;
  margin: 5px 0; border-radius: 2px; }
.responder { background: var(--kind-3); } .initiator { background: var(--kind-1); }
.event { margin: 0 0 8px; padding: 6px 10px; background: var(--soft); border-radius: 7px; white-space: pre-wrap; }
.story { display: flex; flex-wrap: wrap; gap: 14px 40px; } .card { min-width: 0; } .card h3 { margin-top: 4px; }
.card .swatch { vertical-align: -1px; } .card .swatch.strip { vertical-align: 3px; }
button.link { background: none; border: none; padding: 0; color: var(--accent); font-size: inherit; }
button.link:hover { text-decoration: underline; }
select, .address { font: 13px ui-monospace, monospace; color: var(--text); background: var(--soft); padding: 4px 8px;
  border: 1px solid var(--line); border-radius: 7px; max-width: 340px; } .address { width: 172px; }
.address.wrong { border-color: var(--bad); }
.grid { max-height: 230px; overflow: auto; border: 1px solid var(--line); border-radius: 8px; padding: 8px 10px; }
.run { display: flex; gap: 12px; align-items: flex-start; margin-bottom: 4px; }
.start { flex: none; color: var(--dim); }
.cells { display: flex; flex-wrap: wrap; gap: 2px; }
.cell { width: 22px; height: 22px; padding: 0; font-size: 12px; line-height: 20px; border-radius: 4px;
  border: 1px solid var(--line); text-align: center; }
.cell.large { width: 66px; }
.cell.dirty { background: var(--accent); color: var(--bg); } .cell.writable { background:
  color-mix(in srgb, var(--accent) 45%, var(--bg)); } .cell.read-only { background:
  color-mix(in srgb, var(--accent) 14%, var(--bg)); } .cell.swapped { background: repeating-linear-gradient(45deg,
  var(--line) 0 4px, var(--bg) 4px 8px); } .cell.absent { background: var(--bg); }
.cell.gone { background: var(--bg); border-style: dashed; border-color: var(--dim); }
.cell.pending { box-shadow: inset 0 -4px 0 var(--kind-1); } .cell.stale { box-shadow: inset 0 0 0 3px var(--bad); }
.cell.chosen { outline: 3px solid var(--cursor); outline-offset: 0; z-index: 1; }
.split { display: flex; align-items: center; gap: 14px; margin: 14px 0 10px; }
.split .whole { font-size: 15px; font-weight: 600; } .fields { display: flex; flex: 1; min-width: 0; gap: 3px; }
.bits { display: flex; flex-direction: column; align-items: center; flex: 1 1 auto; padding: 4px 10px;
  border-radius: 7px; background: var(--soft); font-size: 12.5px; } .bits b { font-size: 14px; }
.bits code { letter-spacing: 0.02em; overflow-wrap: normal; white-space: nowrap; }
.walk { display: flex; flex-wrap: wrap; gap: 10px 26px; margin-bottom: 12px; }
.step { position: relative; display: flex; flex-direction: column; gap: 2px; padding: 7px 12px; min-width: 92px;
  border: 1px solid var(--line); border-radius: 9px; background: var(--soft); font-size: 13px; }
.step b { font-size: 15px; } .step:not(:last-child)::after { content: "→"; position: absolute; right: -22px;
  top: 50%; transform: translateY(-50%); font-size: 19px; color: var(--dim); }
.step.root, .step.end { justify-content: center; } .step.end.ok { border: 2px solid var(--ok); }
.step.end.bad { border: 2px solid var(--bad); }
.flags { display: flex; gap: 3px; } .flag { font: 600 11.5px/18px ui-monospace, monospace; padding: 0 4px;
  border-radius: 4px; color: var(--dim); opacity: 0.45; border: 1px solid var(--line); }
.flag.set { color: var(--bg); background: var(--text); opacity: 1; border-color: var(--text); }
.verdict-ok { color: var(--ok); } .verdict-narrower { color: var(--dim); } .verdict-pending { color: var(--ipi); }
.verdict-stale { color: var(--bad); } tr.later { opacity: 0.5; } tr.now td { font-weight: 600; }
.key { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 6px 0 0; font-size: 13px; color: var(--dim);
  align-items: center; } .key .cell { display: inline-block; pointer-events: none; margin-right: 5px; }
dialog { border: 1px solid var(--line); border-radius: 12px; background: var(--card); color: var(--text);
  max-width: 760px; padding: 18px 24px; }
dialog::backdrop { background: rgb(0 0 0 / 40%); }
kbd { font: 12.5px ui-monospace, monospace; background: var(--soft); border: 1px solid var(--line);
  border-bottom-width: 2px; border-radius: 5px; padding: 0 6px; }
.failure { color: var(--bad); font-size: 18px; }
@media (max-width: 1000px) { main { grid-template-columns: 1fr; height: auto; } #timeline { height: 420px; flex: none; }
  #trace { height: 360px; flex: none; } }
@media print { body { padding: 0; font-size: 11pt; } .tools, .zoom, #search, .right .bar button, .right .bar label,
  #overview, .tip, .story button:not(.link) { display: none; } main { height: 150mm; } .panel { break-inside: avoid; }
  #timeline, #trace { overflow: hidden; } .grid { max-height: none; }
  select, .address { border: none; background: none; } }
`
