(function () {
  "use strict";
  var words = document.getElementById("words"), none = document.getElementById("none");
  var shown = document.getElementById("shown"), boxes = document.querySelectorAll(".filter input[type=checkbox]");
  var rows = Array.prototype.slice.call(document.querySelectorAll("#rows tbody tr")).map(function (row) {
    return { row: row, verdict: row.dataset.verdict, text: row.textContent.toLowerCase() };
  });
  document.documentElement.classList.add("js");
  function apply() {
    var wanted = words.value.toLowerCase().split(/\s+/), open = {}, count = 0;
    boxes.forEach(function (box) { open[box.value] = box.checked; });
    rows.forEach(function (each) {
      var fits = open[each.verdict] && wanted.every(function (word) { return each.text.indexOf(word) >= 0; });
      each.row.hidden = !fits;
      count += fits ? 1 : 0;
    });
    none.hidden = count > 0 || !rows.length;
    shown.textContent = count + " of " + rows.length;
  }
  words.addEventListener("input", apply);
  boxes.forEach(function (box) { box.addEventListener("change", apply); });
  document.querySelectorAll("[data-only]").forEach(function (tile) {
    tile.addEventListener("click", function () {
      words.value = "";
      boxes.forEach(function (box) { box.checked = box.value === tile.dataset.only; });
      apply();
    });
  });
  function unfold() {
    var target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", unfold);
  document.querySelectorAll('a[href^="#c"]').forEach(function (link) { link.addEventListener("click", function () { setTimeout(unfold, 0); }); });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  });
  unfold();
  apply();
})();
