// The markup of a report page. Everything that depends on the run is filled in by the page's script;
// styles are in style.ts, because the page allows no style but that one.

/** Body of the page, without the data and the script. */
export const SKELETON = `
<header>
  <div class="head">
    <h1 id="title"></h1>
    <p id="question"></p>
  </div>
  <div class="tools">
    <button id="share" title="Copy the address of this view">Copy link</button>
    <button id="theme" title="Light or dark (d)">Dark</button>
    <button id="help-open" title="Keys and signs (?)">?</button>
  </div>
</header>
<dl id="facts"></dl>
<main>
  <section class="left" aria-label="Timeline">
    <div class="bar">
      <div id="legend" class="legend"></div>
      <div class="zoom">
        <button id="zoom-in" title="More detail (+)">+</button>
        <button id="zoom-out" title="Less detail (-)">&#8722;</button>
        <button id="zoom-all" title="The whole run (0)">All</button>
      </div>
    </div>
    <div id="overview" title="The whole run: drag to move"></div>
    <div id="timeline" tabindex="0"></div>
  </section>
  <section class="right" aria-label="Trace">
    <div class="bar">
      <input id="search" type="search" placeholder="Search the trace ( / )" spellcheck="false" autocomplete="off">
      <button id="search-previous" title="Previous match (N)">&#8593;</button>
      <button id="search-next" title="Next match (n)">&#8595;</button>
      <label><input id="search-only" type="checkbox"> only these</label>
      <span id="search-status" class="dim" role="status"></span>
      <span id="trace-count" class="dim"></span>
    </div>
    <div id="trace" tabindex="0"></div>
  </section>
</main>
<div class="panels">
  <section class="panel wide" id="story-panel"><h2>At the cursor</h2><div id="story"></div></section>
  <section class="panel wide" id="tables-panel"><h2>Page tables and TLBs</h2><div id="tables"></div></section>
  <section class="panel" id="histogram-panel"><h2>Shootdown latency</h2><div id="histogram"></div></section>
  <section class="panel" id="stolen-panel"><h2>Cycles taken by shootdowns</h2><div id="stolen"></div></section>
  <section class="panel" id="tasks-panel"><h2>Tasks and address spaces</h2><div id="tasks"></div></section>
  <section class="panel wide" id="expect-panel"><h2>What to look for</h2><div id="expect"></div></section>
</div>
<dialog id="help"></dialog>
`
