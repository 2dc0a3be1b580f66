(function () {
  "use strict";
  document.documentElement.classList.add("js");
  var words = document.getElementById("words"), shown = document.getElementById("shown");
  var none = document.getElementById("none"), unfold = document.getElementById("unfold");
  var checks = Array.from(document.querySelectorAll(".filter input[type=checkbox]"));
  var files = Array.from(document.querySelectorAll(".file[data-path]")).map(function (el) {
    var blocks = Array.from(el.querySelectorAll(".code")).map(function (block) {
      var rows = Array.from(block.querySelectorAll(".finding")).map(function (row) {
        return { el: row, severity: row.dataset.severity, text: (el.dataset.path + " " + row.textContent).toLowerCase() };
      });
      return { el: block, rows: rows };
    });
    return { el: el, blocks: blocks, open: el.open };
  });
  var total = files.reduce(function (n, f) { return f.blocks.reduce(function (m, b) { return m + b.rows.length; }, n); }, 0);
  function apply() {
    var terms = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    var on = new Set(checks.filter(function (c) { return c.checked; }).map(function (c) { return c.value; }));
    var filtered = terms.length > 0 || on.size < checks.length, count = 0;
    files.forEach(function (file) {
      var inFile = 0;
      file.blocks.forEach(function (block) {
        var inBlock = 0;
        block.rows.forEach(function (row) {
          var fits = on.has(row.severity) && terms.every(function (t) { return row.text.includes(t); });
          row.el.hidden = !fits;
          inBlock += fits;
        });
        block.el.hidden = !inBlock;
        inFile += inBlock;
      });
      file.el.hidden = !inFile;
      file.el.open = filtered ? inFile > 0 && count < 200 : file.open;
      count += inFile;
    });
    none.hidden = count > 0 || total === 0;
    shown.textContent = count.toLocaleString("en") + " of " + total.toLocaleString("en") + " shown";
  }
  var timer;
  words.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(apply, 120); });
  checks.forEach(function (c) { c.addEventListener("change", apply); });
  document.querySelectorAll("[data-only]").forEach(function (tile) {
    tile.addEventListener("click", function () {
      checks.forEach(function (c) { c.checked = c.value === tile.dataset.only; });
      apply();
    });
  });
  unfold.addEventListener("click", function () {
    var open = unfold.textContent === "Open all";
    files.forEach(function (f) { f.el.open = open; });
    unfold.textContent = open ? "Close all" : "Open all";
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "/" && document.activeElement !== words) { event.preventDefault(); words.focus(); }
    if (event.key === "Escape" && document.activeElement === words) { words.value = ""; apply(); }
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  });
  apply();
})();
