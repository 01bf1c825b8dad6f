"use strict";
// Everything on the page is there without this: it adds sorting, and opens what a link points into.
(() => {
  const value = (cell) => cell.dataset.v === undefined ? null : Number(cell.dataset.v);

  function compare(a, b, numeric) {
    if (!numeric) return a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
    return value(a) - value(b);
  }

  // Rows without a value stay last in both directions, sums and means below everything; equal rows keep their order.
  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const empty = (row) => numeric && value(row.cells[column]) === null;
    const rows = [...body.rows].filter((row) => !row.dataset.pinned);
    const pinned = [...body.rows].filter((row) => row.dataset.pinned);
    const full = rows.filter((row) => !empty(row));
    full.sort((a, b) => (descending ? -1 : 1) * compare(a.cells[column], b.cells[column], numeric));
    body.append(...full, ...rows.filter(empty), ...pinned);
  }

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const original = [...table.tBodies[0].rows];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const state = head.getAttribute("aria-sort");
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        // Third click: as it was.
        if (state === "descending") return table.tBodies[0].append(...original);
        head.setAttribute("aria-sort", state === "ascending" ? "descending" : "ascending");
        sort(table, column, state === "ascending");
      });
    });
  }

  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    if (table.tBodies[0].rows.length > 1) makeSortable(table);
  });
  window.addEventListener("hashchange", openTarget);
  openTarget();

  // On paper nothing can be opened: what belongs to the report is, the details of every run are not.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details[data-print]:not([open])")];
    opened.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
})();
