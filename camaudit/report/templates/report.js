(() => {
  "use strict";
  const root = document.documentElement;

  // Controls that need this script are hidden until it runs.
  for (const element of document.querySelectorAll("[data-needs-script]")) {
    element.hidden = false;
  }

  const slider = document.getElementById("overlay-opacity");
  if (slider) {
    const shown = document.getElementById("overlay-opacity-value");
    const apply = () => {
      root.style.setProperty("--overlay-opacity", String(slider.value / 100));
      shown.textContent = slider.value + " %";
    };
    slider.addEventListener("input", apply);
    apply();
  }

  const hatch = document.getElementById("hatch-toggle");
  if (hatch) {
    const apply = () => root.classList.toggle("hatch-off", !hatch.checked);
    hatch.addEventListener("change", apply);
    apply();
  }

  // A link to a part that is folded unfolds it.
  const unfold = () => {
    const part = document.getElementById(location.hash.slice(1));
    if (part instanceof HTMLDetailsElement) part.open = true;
    const folded = part?.closest("section")?.querySelector(":scope > details.folded");
    if (folded) folded.open = true;
  };
  window.addEventListener("hashchange", unfold);
  unfold();

  const value = (row, column) => row.cells[column].dataset.value ?? "";

  // Undefined figures stay last in either direction; equal ones keep their order.
  const compare = (a, b, numeric, direction) => {
    if (a === "" || b === "") return Number(a === "") - Number(b === "");
    if (numeric) return direction * (Number(a) - Number(b));
    return direction * a.localeCompare(b);
  };

  const sort = (table, header) => {
    const numeric = header.dataset.sort === "number";
    const first = numeric ? "descending" : "ascending";
    const second = numeric ? "ascending" : "descending";
    const order = header.getAttribute("aria-sort") === first ? second : first;
    const direction = order === "ascending" ? 1 : -1;
    const column = header.cellIndex;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => row.dataset.row !== undefined);
      rows.sort((a, b) => compare(value(a, column), value(b, column), numeric, direction));
      body.append(...rows);
    }
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    document.getElementById("sort-status").textContent =
      "Sorted by " + header.textContent.trim() + ", " + order + ".";
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const header of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, header));
    }
  }
})();
