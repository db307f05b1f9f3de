// All of it together, and what a reader does to it.

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
