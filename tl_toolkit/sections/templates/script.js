"use strict";
// Tables of class "sortable": a button in each header cell sorts by it, ascending first and then the other way round.
// A cell's data-value, where there is one, is what is compared.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    if (!cell.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...body.rows].map((row) => [key(row), row]);
      const numbers = rows.every(([value]) => value !== "" && !isNaN(value));
      rows.sort(([a], [b]) => (numbers ? a - b : a.localeCompare(b)) * (up ? 1 : -1));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
// A select with data-filter="id" shows, of the children of that element, those whose data-class it names; "" is all.
for (const select of document.querySelectorAll("select[data-filter]")) {
  const list = document.getElementById(select.dataset.filter);
  const said = document.getElementById(select.dataset.filter + "-count");
  const apply = () => {
    let shown = 0;
    for (const item of list.children) {
      item.hidden = select.value !== "" && item.dataset.class !== select.value;
      shown += item.hidden ? 0 : 1;
    }
    if (said) said.textContent = shown + " shown";
  };
  select.addEventListener("change", apply);
}
