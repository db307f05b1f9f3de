// Speed against quality: points with their bars, fronts, and what a point tells.

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
