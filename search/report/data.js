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
  return [...new Set([...data.columns, ...Object.keys(data.quantities)])] // the main numbers first
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
