// Every candidate, fifty on a page.

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
