"use strict";
// The pictures, the filter and the table of all candidates. `data` holds one column a field: see
// document.py. A row is a trial's place in the columns.

let data, rows, measured, groupOf, groupNames;
const SMALL = 400;      // candidates: up to here each has its error bars
const VECTOR = 1500;    // candidates: beyond, points are drawn by WebGL, or thinned out where there is none
const LINES = 1500;     // candidates with a line on the parallel axes, the front and those near it among them
const ON_A_PAGE = 50;
const LIVE_EVERY = 2000; // milliseconds between two looks at a search that runs
const at = id => document.getElementById(id);
const choice = {x: at("x"), y: at("y")};
const wanted = {find: "", choices: {}, ranges: {}, sort: null, sign: -1, page: 0, kept: null};
const touched = matchMedia("(hover: none), (max-width: 44rem)").matches; // a finger scrolls the page, not the picture
const webgl = (() => {
  try { return !!document.createElement("canvas").getContext("webgl"); } catch { return false; }
})();

function take(fresh) {
  data = fresh;
  rows = [...data.number.keys()];
  measured = rows.filter(row => data.state[row] === "done");
  const names = new Map();
  groupOf = rows.map(row => {
    if (data.state[row] !== "done") return -1;
    const name = (data.device[row] || "?") + (data.batch[row] === null ? "" : `, batch ${data.batch[row]}`);
    if (!names.has(name)) names.set(name, names.size);
    return names.get(name);
  });
  const order = name => { const row = groupOf.indexOf(names.get(name)); return [data.devices.indexOf(data.device[row]), data.batch[row] ?? 0]; };
  groupNames = [...names.keys()].sort((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
  const place = new Map([...names].map(([name, old]) => [old, groupNames.indexOf(name)]));
  groupOf = groupOf.map(group => group < 0 ? -1 : place.get(group));
}

// ---------------------------------------------------------------------------------------- words

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

// The value with the digits its spread supports; as wording.number does.
function number(value, spread) {
  if (value === null || value === undefined) return "-";
  if (spread) {
    const power = Math.floor(Math.log10(spread));
    const digits = Math.min(7, Math.max(0, -power + (spread < 2 * 10 ** power ? 1 : 0)));
    return `${value.toFixed(digits)} ± ${spread.toFixed(digits)}`;
  }
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(Math.min(7, Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))))));
}

function told(row, name) {
  const q = data.quantities[name];
  return number(q.value[row], q.spread[row]);
}

function headed(name) {
  const {heading, unit} = data.quantities[name];
  return heading + (unit && !["x", heading].includes(unit) ? ` (${unit})` : "");
}

function facts(row) {
  return Object.keys(data.quantities)
    .filter(name => data.quantities[name].value[row] !== null)
    .map(name => [data.quantities[name].heading, told(row, name), name]);
}

// ---------------------------------------------------------------------------------------- filter

// Every measured row that meets the words, the choices and the ranges drawn on the parallel axes.
function shown() {
  const words = wanted.find.toLowerCase().split(/\s+/).filter(Boolean);
  return measured.filter(row => {
    for (const word of words) {
      const number = word.startsWith("#") ? word.slice(1) : word;
      if (!data.settings[row].toLowerCase().includes(word) && String(data.number[row]) !== number
          && !data.candidate[row].startsWith(word)) return false;
    }
    for (const [what, value] of Object.entries(wanted.choices)) if (facet(what, row) !== value) return false;
    for (const [what, ranges] of Object.entries(wanted.ranges)) {
      const value = coordinate(what, row);
      if (value === null || !ranges.some(([low, high]) => low <= value && value <= high)) return false;
    }
    return true;
  });
}

function facet(what, row) {
  if (what === "kind") return data.number[row] === 0 ? "plain" : data.kind[row];
  if (what === "device") return data.device[row];
  if (what === "batch") return String(data.batch[row]);
  const knob = data.knobs[what];
  return knob.places[row] < 0 ? "-" : String(knob.levels[knob.places[row]]);
}

// What a row can be chosen by: the front, device and batch if there are several, parts by name.
function facets() {
  const found = [["kind", "show", [["front", "the front"], ["close", "indistinguishable"], ["other", "others"], ["plain", "plain decoding"]]]];
  for (const what of ["device", "batch"]) {
    const values = [...new Set(measured.map(row => facet(what, row)))];
    if (values.length > 1) found.push([what, what, values.map(v => [v, v])]);
  }
  Object.entries(data.knobs).filter(([, knob]) => !knob.numeric && knob.levels.length > 1 && knob.levels.length <= 40)
    .sort(([a], [b]) => a.split(".").length - b.split(".").length || (a < b ? -1 : 1)).slice(0, 3)
    .forEach(([path, knob]) => found.push([path, knob.label, knob.levels.map(v => [String(v), String(v)])]));
  return found;
}

function offerFacets() {
  const place = at("choices");
  place.replaceChildren();
  for (const [what, label, values] of facets()) {
    const select = document.createElement("select");
    select.dataset.what = what;
    select.add(new Option("all", ""));
    values.forEach(([value, text]) => select.add(new Option(text, value)));
    select.value = wanted.choices[what] ?? "";
    select.addEventListener("change", () => {
      if (select.value) wanted.choices[what] = select.value; else delete wanted.choices[what];
      wanted.page = 0;
      show();
    });
    const around = document.createElement("label");
    around.append(label + " ", select);
    place.append(around);
  }
}

// ---------------------------------------------------------------------------------------- picture

// The rows that no other one beats on two axes, from left to right: one pass over them sorted.
function front(some, x, y) {
  const X = data.quantities[x], Y = data.quantities[y];
  const gx = row => X.higher ? X.value[row] : -X.value[row], gy = row => Y.higher ? Y.value[row] : -Y.value[row];
  const found = [];
  let best = -Infinity, last = null;
  for (const row of [...some].sort((a, b) => gx(b) - gx(a) || gy(b) - gy(a))) {
    const equal = last !== null && gx(row) === gx(last) && gy(row) === gy(last);
    if (gy(row) > best || equal) { found.push(row); best = gy(row); last = row; }
  }
  return found.sort((a, b) => X.value[a] - X.value[b]);
}

// At most so many rows, evenly taken.
function thinned(some, most) {
  const step = Math.ceil(some.length / most);
  return step > 1 ? some.filter((_, place) => place % step === 0) : some;
}

function draw(some) {
  const x = choice.x.value, y = choice.y.value;
  if (!x || !y) return;
  const X = data.quantities[x], Y = data.quantities[y];
  const here = some.filter(row => X.value[row] !== null && Y.value[row] !== null);
  const several = groupNames.length > 1, many = here.length > VECTOR;
  const traces = [];
  const points = (list, marker, extra) => traces.push({
    x: list.map(row => X.value[row]), y: list.map(row => Y.value[row]), customdata: list,
    type: "scatter", mode: "markers", hoverinfo: "none", marker, ...extra,
  });
  const bars = (list, tint) => ({
    error_x: {type: "data", array: list.map(row => X.spread[row] || 0), color: tint, thickness: 1, width: 0},
    error_y: {type: "data", array: list.map(row => Y.spread[row] || 0), color: tint, thickness: 1, width: 0},
  });
  const fronts = new Map();
  groupNames.forEach((_, group) => {
    const edge = front(here.filter(row => groupOf[row] === group), x, y);
    fronts.set(group, edge);
    if (edge.length) traces.push({
      x: edge.map(row => X.value[row]), y: edge.map(row => Y.value[row]), mode: "lines", hoverinfo: "skip",
      line: {shape: X.higher ? "vh" : "hv", color: colour(several ? `g${group % 6}` : "front"), width: 1.5},
    });
  });
  const marked = row => data.number[row] === 0 ? "plain" : data.kind[row];
  const edges = several ? new Set([...fronts.values()].flat()) : new Set();
  const others = here.filter(row => marked(row) === "other" && !edges.has(row));
  const tint = several ? others.map(row => colour(`g${groupOf[row] % 6}`)) : colour("other");
  if (many && webgl) points(others, {size: 5, color: tint, opacity: .55}, {type: "scattergl"});
  else {
    const drawn = many ? thinned(others, VECTOR) : others;
    const tints = several ? drawn.map(row => colour(`g${groupOf[row] % 6}`)) : tint;
    points(drawn, {size: 7, color: tints, opacity: several ? .5 : 1}, here.length <= SMALL && !several ? bars(drawn, colour("other")) : {});
  }
  const close = here.filter(row => marked(row) === "close" && !edges.has(row)).slice(0, VECTOR);
  points(close, {size: 10, symbol: "circle-open", color: colour("close"), line: {width: 2}},
    close.length <= SMALL ? bars(close, colour("close")) : {});
  if (several) fronts.forEach((edge, group) => {
    const list = edge.filter(row => data.number[row] !== 0);
    points(list, {size: 10, color: colour(`g${group % 6}`)}, bars(list, colour(`g${group % 6}`)));
  });
  const best = here.filter(row => marked(row) === "front" && !edges.has(row));
  points(best, {size: 11, color: colour("front")}, bars(best, colour("front")));
  const plain = here.filter(row => data.number[row] === 0);
  points(plain, {size: 14, symbol: "diamond", color: colour("plain")}, bars(plain, colour("plain")));

  const better = name => data.quantities[name].higher ? "higher is better" : "lower is better";
  const log = at("log").checked;
  const axis = name => ({
    title: {text: `${escaped(headed(name))}, ${better(name)}`, standoff: 8}, gridcolor: colour("line"),
    linecolor: colour("line"), zeroline: false, automargin: true, type: log ? "log" : "linear",
  });
  Plotly.react(at("picture"), traces, {
    margin: {l: 8, r: 12, t: 8, b: 8}, xaxis: axis(x), yaxis: axis(y), showlegend: false, hovermode: "closest", dragmode: touched ? false : "zoom",
    uirevision: `${x} ${y} ${log}`, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, sans-serif", size: 13, color: colour("ink")},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("front")},
  }, {responsive: true, displaylogo: false, doubleClick: "reset", ...(touched ? {displayModeBar: false} : {}),
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]});
  legend(several);
}

function legend(several) {
  if (!several) return;
  const items = groupNames.map((name, group) =>
    `<li><span class="swatch" style="background:var(--g${group % 6})"></span>${escaped(name)}</li>`);
  items.push('<li><span class="dot plain"></span>plain decoding</li>');
  at("legend").innerHTML = items.join("");
}

// ---------------------------------------------------------------------------------------- a point

function listed(row) {
  return `<b>#${data.number[row]}</b> ${escaped(data.settings[row])}`;
}

function tip(row, event) {
  const box = at("tip");
  const few = facts(row).filter(([, , name]) => data.columns.includes(name) || [choice.x.value, choice.y.value].includes(name));
  const where = groupNames.length > 1 ? `<dt>on</dt><dd>${escaped(groupNames[groupOf[row]])}</dd>` : "";
  box.innerHTML = listed(row) + `<dl class="facts">${where}` +
    few.map(([name, text]) => `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`).join("") + "</dl>";
  box.hidden = false;
  const {clientX = 0, clientY = 0} = event || {};
  const {width, height} = box.getBoundingClientRect();
  const left = Math.max(8, Math.min(clientX + 14, innerWidth - width - 8));
  const top = clientY + height + 24 > innerHeight ? clientY - height - 14 : clientY + 14;
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${Math.max(8, top) + scrollY}px`;
}

function keep(candidate) {
  wanted.kept = candidate;
  const box = at("kept"), row = candidate === null ? -1 : measured.find(row => data.candidate[row] === candidate) ?? -1;
  box.hidden = row < 0;
  if (row < 0) return;
  const id = data.candidate[row].slice(0, 12);
  box.innerHTML = `<button type="button" aria-label="let go">×</button><p>${listed(row)}</p><dl class="facts">` +
    facts(row).map(([name, text]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(text)}</dd></div>`).join("") +
    `</dl><code>paretoken export ${escaped(data.study)} --candidate ${id}</code>`;
  box.querySelector("button").addEventListener("click", () => keep(null));
}

// ---------------------------------------------------------------------------------------- parallel axes

// A row's height on an axis: the number itself, or the place of a level; -1 where it has no such setting.
function coordinate(what, row) {
  if (what in data.quantities) return data.quantities[what].value[row];
  return data.knobs[what].places[row];
}

function axes() {
  const numbers = [...new Set(["speedup", ...data.objectives])].filter(name => name in data.quantities);
  const knobs = Object.keys(data.knobs).filter(path => new Set(measured.map(row => data.knobs[path].places[row])).size > 1)
    .sort((a, b) => spreadOf(b) - spreadOf(a)).slice(0, 7);
  return [...knobs, ...numbers];
}

// In how many candidates a setting occurs at all: those that all have say most.
function spreadOf(path) {
  return measured.reduce((sum, row) => sum + (data.knobs[path].places[row] >= 0), 0);
}

let parallelAxes = [], seen = false;
function drawParallel() {
  const place = at("parallel");
  const part = at("parallel-part");
  const fitting = axes();
  part.hidden = measured.length < 2 || fitting.length < 2;
  if (part.hidden || !seen) return;
  parallelAxes = fitting;
  if (!webgl) { at("no-parallel").hidden = false; place.hidden = true; return; }
  const order = {other: 0, close: 1, front: 2};
  const whole = measured.filter(row => parallelAxes.every(what => coordinate(what, row) !== null));
  const near = whole.filter(row => data.kind[row] !== "other").sort((a, b) => order[data.kind[a]] - order[data.kind[b]]);
  const some = [...thinned(whole.filter(row => data.kind[row] === "other"), Math.max(1, LINES - near.length)), ...near];
  at("lines").textContent = some.length < whole.length ? `${some.length.toLocaleString("en")} of ${whole.length.toLocaleString("en")} candidates have a line here, evenly taken; the filter asks all.` : "";
  const dimensions = parallelAxes.map(what => {
    const values = some.map(row => coordinate(what, row));
    const found = {values, label: what in data.quantities ? data.quantities[what].heading : data.knobs[what].label};
    if (wanted.ranges[what]) found.constraintrange = wanted.ranges[what];
    if (what in data.knobs) {
      const levels = data.knobs[what].levels.map(String);
      const step = Math.ceil(levels.length / 14);
      const ticks = [...levels.keys()].filter(place => place % step === 0);
      if (values.includes(-1)) ticks.unshift(-1);
      found.tickvals = ticks;
      found.ticktext = ticks.map(place => place < 0 ? "-" : levels[place].length > 14 ? levels[place].slice(0, 13) + "…" : levels[place]);
      found.range = [Math.min(...ticks) - .05, levels.length - 1 + .05];
    }
    return found;
  });
  Plotly.react(place, [{
    type: "parcoords", dimensions, labelangle: parallelAxes.length > 6 ? -12 : 0,
    line: {color: some.map(row => order[data.kind[row]]), cmin: 0, cmax: 2,
      colorscale: [[0, colour("other")], [.5, colour("close")], [1, colour("front")]]},
    unselected: {line: {color: colour("line"), opacity: .25}},
    labelfont: {color: colour("ink"), size: 12}, tickfont: {color: colour("soft"), size: 11}, rangefont: {color: "rgba(0,0,0,0)", size: 1},
  }], {margin: {l: 70, r: 70, t: 60, b: 20}, paper_bgcolor: "rgba(0,0,0,0)", font: {family: "system-ui, sans-serif"}},
  {responsive: true, displayModeBar: false});
}

function readRanges() {
  const place = at("parallel");
  wanted.ranges = {};
  place.data[0].dimensions.forEach((dimension, i) => {
    const range = dimension.constraintrange;
    if (range && range.length) wanted.ranges[parallelAxes[i]] = Array.isArray(range[0]) ? range : [range];
  });
  wanted.page = 0;
  show();
}

// ---------------------------------------------------------------------------------------- table

function table(some) {
  const columns = data.columns;
  const value = row => wanted.sort === "#" ? data.number[row] : data.quantities[wanted.sort].value[row];
  if (wanted.sort === null || (wanted.sort !== "#" && !(wanted.sort in data.quantities))) {
    wanted.sort = data.objectives[0] ?? "#";
    wanted.sign = wanted.sort !== "#" && data.quantities[wanted.sort].higher ? -1 : 1;
  }
  const sorted = [...some].sort((a, b) => {
    const va = value(a), vb = value(b);
    if (va === null || vb === null) return (va === null) - (vb === null);
    return wanted.sign * (va - vb) || data.number[a] - data.number[b];
  });
  const pages = Math.max(1, Math.ceil(sorted.length / ON_A_PAGE));
  wanted.page = Math.min(wanted.page, pages - 1);
  const head = (name, text) => {
    const sort = wanted.sort === name ? ` aria-sort="${wanted.sign > 0 ? "ascending" : "descending"}"` : "";
    return `<th scope="col"${sort}><button type="button" data-sort="${escaped(name)}">${escaped(text)}</button></th>`;
  };
  at("everyone").tHead.innerHTML = "<tr>" + head("#", "#") + columns.map(n => head(n, data.quantities[n].heading)).join("") +
    '<th class="words" scope="col">settings</th></tr>';
  at("everyone").tBodies[0].innerHTML = sorted.slice(wanted.page * ON_A_PAGE, (wanted.page + 1) * ON_A_PAGE).map(row => {
    const kind = data.kind[row], dot = data.number[row] === 0 ? "plain" : kind;
    return `<tr class="${kind}" data-id="${data.candidate[row]}"><td><span class="dot ${dot}"></span>${data.number[row]}</td>` +
      columns.map(name => `<td>${told(row, name)}</td>`).join("") +
      `<td class="words">${escaped(data.settings[row])}` + (data.reused[row] ? ` <span class="soft">(${data.reused[row]} reused)</span>` : "") +
      ` <code class="soft">${data.candidate[row].slice(0, 12)}</code></td></tr>`;
  }).join("");
  at("pages").innerHTML = pages < 2 ? "" :
    `<button type="button" data-page="-1"${wanted.page ? "" : " disabled"}>before</button>` +
    `<span>${wanted.page + 1} of ${pages}</span>` +
    `<button type="button" data-page="1"${wanted.page + 1 < pages ? "" : " disabled"}>next</button>`;
}

// ---------------------------------------------------------------------------------------- all of it

function show() {
  const some = shown();
  const filtered = some.length < measured.length;
  at("count").textContent = `${some.length.toLocaleString("en")}${filtered ? ` of ${measured.length.toLocaleString("en")}` : ""} candidates`;
  at("clear").hidden = !(wanted.find || Object.keys(wanted.choices).length || Object.keys(wanted.ranges).length);
  draw(some);
  table(some);
}

function offerAxes() {
  ["x", "y"].forEach((axis, i) => {
    const before = choice[axis].value;
    choice[axis].replaceChildren(...Object.keys(data.quantities).map(name => new Option(headed(name), name)));
    choice[axis].value = before in data.quantities ? before : data.axes[i] ?? "";
  });
}

function renew() {
  offerAxes();
  offerFacets();
  at("shared").textContent = data.shared ? `The same wherever it applies: ${data.shared}` : "";
  at("everyone-part").hidden = at("picture-part").hidden = !measured.length;
  if (!measured.length) { at("parallel-part").hidden = true; return; }
  show();
  drawParallel();
  if (wanted.kept) keep(wanted.kept);
  listen();
}

let listening = false;
function listen() {
  if (listening) return;
  listening = true;
  const picture = at("picture");
  picture.on("plotly_hover", ({points, event}) => tip(points[0].customdata, event));
  picture.on("plotly_unhover", () => { at("tip").hidden = true; });
  picture.on("plotly_click", ({points}) => keep(data.candidate[points[0].customdata]));
  picture.addEventListener("pointerleave", () => { at("tip").hidden = true; });
}

// The parallel axes are drawn once they come near: on a slow device they take a second.
new IntersectionObserver(entries => {
  if (!entries.some(entry => entry.isIntersecting)) { seen = false; return; }
  seen = true;
  if (data) drawParallel();
}, {rootMargin: "400px"}).observe(at("parallel-part"));

let brushing = false;
new MutationObserver(() => {
  const place = at("parallel");
  if (!brushing && place.on) { brushing = true; place.on("plotly_restyle", readRanges); }
}).observe(at("parallel"), {childList: true});

let typing;
at("find").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { wanted.find = at("find").value; wanted.page = 0; show(); }, 120);
});
at("clear").addEventListener("click", () => {
  Object.assign(wanted, {find: "", choices: {}, ranges: {}, page: 0});
  at("find").value = "";
  renew();
});
for (const what of ["x", "y", "log"]) at(what).addEventListener("change", show);
at("everyone").addEventListener("click", event => {
  const sort = event.target.dataset.sort, row = event.target.closest("tr[data-id]");
  if (sort) {
    wanted.sign = wanted.sort === sort ? -wanted.sign : sort !== "#" && data.quantities[sort].higher ? -1 : 1;
    Object.assign(wanted, {sort, page: 0});
    table(shown());
  } else if (row && !String(getSelection())) {
    keep(row.dataset.id);
    at("kept").scrollIntoView({block: "nearest"});
  }
});
at("pages").addEventListener("click", event => {
  if (event.target.dataset.page) { wanted.page += +event.target.dataset.page; table(shown()); }
});

function recolour() { if (measured.length) { show(); drawParallel(); } }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
addEventListener("beforeprint", () => { seen = true; recolour(); });
addEventListener("afterprint", recolour);

take(JSON.parse(at("data").textContent));
at("log").checked = groupNames.length > 1; // speeds of several batch sizes lie far apart
renew();

// ---------------------------------------------------------------------------------------- live

// Parts that changed are put in their places; what was opened stays open, and axes, filter, zoom and
// the kept candidate stay as they are.
function replace(parts) {
  for (const [name, html] of Object.entries(parts)) {
    const place = document.querySelector(`[data-part="${name}"]`);
    if (place.dataset.html === html) continue;
    const known = new Map([...place.querySelectorAll("details[data-key]")].map(d => [d.dataset.key, d.open]));
    place.innerHTML = html;
    place.dataset.html = html;
    place.querySelectorAll("details[data-key]").forEach(d => { if (known.has(d.dataset.key)) d.open = known.get(d.dataset.key); });
  }
}

async function follow() {
  const badge = at("live");
  let revision = data.revision;
  for (;;) {
    await new Promise(go => setTimeout(go, document.hidden ? 5 * LIVE_EVERY : LIVE_EVERY));
    try {
      const answer = await fetch("state", {headers: {"If-None-Match": `"${revision}"`}, cache: "no-store"});
      if (answer.status === 200) {
        const fresh = await answer.json();
        revision = fresh.data.revision;
        take(fresh.data);
        replace(fresh.parts);
        renew();
        badge.textContent = `live, changed ${new Date().toLocaleTimeString()}`;
        badge.classList.remove("lost");
      } else if (answer.status === 304) {
        badge.classList.remove("lost");
      } else throw new Error(answer.status);
    } catch (error) {
      badge.textContent = error.message === "401" ? "the token is not known any more: open the page with it anew" : "not reached: the server has ended, or the network";
      badge.classList.add("lost");
    }
  }
}
if ("live" in document.body.dataset) follow();
