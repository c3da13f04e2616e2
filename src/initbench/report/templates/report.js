"use strict";
const FEW = 100, NAME = 1; // rows shown at first; the column of the setup
const target = (link) => link.getAttribute("href") ?? link.getAttribute("xlink:href");
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
  const picks = [...body.rows].map((row) => {
    const pick = document.createElement("input");
    pick.type = "checkbox";
    pick.className = "pick";
    pick.setAttribute("aria-label", `Pick ${row.cells[NAME].textContent} to compare`);
    pick.addEventListener("change", () => compare());
    row.cells[0].append(pick);
    return pick;
  });
  const side = document.createElement("div");
  side.className = "scroll picked";
  side.tabIndex = 0;
  side.setAttribute("role", "region");
  side.setAttribute("aria-label", "Picked arms side by side");
  const compare = () => {
    const rows = picks.filter((pick) => pick.checked).map((pick) => pick.closest("tr"));
    const grid = document.createElement("table");
    heads.forEach((head, i) => {
      const line = grid.insertRow(), name = document.createElement("th");
      name.scope = "row";
      name.textContent = head.textContent;
      line.append(name);
      for (const row of rows) {
        const cell = line.insertCell();
        cell.className = row.cells[i].className;
        cell.append(...[...row.cells[i].childNodes].filter((one) => one.className !== "pick").map((one) => one.cloneNode(true)));
      }
    });
    side.replaceChildren(grid);
    side.hidden = !rows.length;
    for (const svg of document.querySelectorAll(".fig svg")) {
      let some = false;
      for (const link of svg.querySelectorAll("a")) {
        const on = rows.some((row) => `#${row.id}` === target(link));
        link.classList.toggle("on", on);
        some ||= on;
      }
      svg.classList.toggle("some", some);
    }
  };
  side.hidden = true;
  table.parentElement.before(side);
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
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("role", "tooltip");
document.body.append(tip);
let told = null, words = "", place = null;
const saying = (one, text) => (one.title === undefined ? (one.textContent = text) : (one.title = text));
const hide = () => {
  if (told) saying(told, words);
  told = null;
  tip.hidden = true;
};
const put = () => {
  const at = place.getBoundingClientRect(), own = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - own.width - 8))}px`;
  tip.style.top = `${at.bottom + 6 + own.height < innerHeight ? at.bottom + 6 : at.top - own.height - 6}px`;
};
const tell = (event) => {
  const to = event.target.closest?.(".fig a, .matrix [title]");
  const title = to?.matches("a") ? to.querySelector("title") : to;
  if (to && (title === told || to.contains(told))) return;
  hide();
  if (!title) return;
  [told, place] = [title, to];
  tip.textContent = words = title.title ?? title.textContent;
  if (event.type === "pointerover") saying(title, ""); // the browser's own tooltip would cover it
  tip.hidden = false;
  put();
};
for (const kind of ["pointerover", "focusin"]) addEventListener(kind, tell);
addEventListener("focusout", hide);
addEventListener("keydown", (event) => event.key === "Escape" && hide());
addEventListener("scroll", () => told && put(), true); // a focus scrolls too: what it says stays beside it
for (const table of document.querySelectorAll(".matrix")) {
  const cells = [...table.rows].map((row) => [...row.cells]);
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  cells.flat().forEach((cell) => cell.matches("[title]") && (cell.tabIndex = -1));
  cells[1].find((cell) => cell.tabIndex === -1 && cell.title).tabIndex = 0; // one stop for Tab, arrows from there
  table.addEventListener("keydown", (event) => {
    const move = moves[event.key], from = document.activeElement.closest("td, th");
    if (!move || !from) return;
    let [y, x] = [from.parentElement.rowIndex, from.cellIndex], to;
    do to = cells[(y += move[0])]?.[(x += move[1])];
    while (to && !to.hasAttribute("title")); // over the diagonal
    if (!to) return;
    event.preventDefault();
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });
}
const over = new ResizeObserver((seen) => {
  for (const { target: box } of seen) box.classList.toggle("over", box.scrollWidth > box.clientWidth + 1);
});
document.querySelectorAll(".fig, .scroll").forEach((box) => over.observe(box));
