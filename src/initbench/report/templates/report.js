"use strict";
const FEW = 100;
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => {
    const button = document.createElement("button"), text = head.hasAttribute("data-text");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const key = (row) => {
      const cell = row.cells[i], v = cell.dataset.v ?? cell.textContent.trim();
      return text ? v : v === "" || isNaN(v) ? null : Number(v);
    };
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row, k) => [key(row), k, row]);
      rows.sort(([a, j], [b, k]) =>
        a === b ? j - k : a === null ? 1 : b === null ? -1 : (a < b) === down ? 1 : -1);
      body.append(...rows.map((entry) => entry[2]));
      show();
    });
  });
  const label = document.createElement("label"), box = document.createElement("input");
  const count = document.createElement("output"), bar = document.createElement("div");
  const rest = document.createElement("button");
  const all = body.rows.length;
  let most = all > 2 * FEW ? FEW : all;
  box.type = "search";
  box.placeholder = "orthogonal none";
  label.append("Filter ", box);
  bar.className = "filter";
  bar.append(label, count);
  table.parentElement.before(bar);
  const show = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const row of body.rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      const found = words.every((word) => text.includes(word));
      n += found;
      row.hidden = !found || n > most;
    }
    count.textContent = n > most ? `first ${most} of ${n}` : `${n} of ${all}`;
    rest.hidden = n <= most;
    rest.textContent = `Show all ${n}`;
  };
  const everything = () => {
    most = all;
    show();
  };
  rest.type = "button";
  rest.addEventListener("click", everything);
  bar.append(rest);
  box.addEventListener("input", show);
  show();
  const reveal = () => {
    const row = location.hash && document.getElementById(location.hash.slice(1));
    if (!row || !row.hidden || !body.contains(row)) return;
    box.value = "";
    everything();
    row.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
}
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((one) => (one.open = true));
});
addEventListener("afterprint", () => closed.forEach((one) => (one.open = false)));
