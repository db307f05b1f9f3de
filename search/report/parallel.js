// Settings and numbers on parallel axes, whose ranges are part of the filter.

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
