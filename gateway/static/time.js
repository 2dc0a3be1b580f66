// Shows times in the reader's time zone, with UTC on hover. Without this script they are labelled UTC.
"use strict";
const two = (number) => String(number).padStart(2, "0");
const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
const day = (at) => `${two(at.getMonth() + 1)}-${two(at.getDate())}`;

function showLocal(time) {
  const at = new Date(time.dateTime);
  if (isNaN(at) || time.title || !at.getTimezoneOffset()) return;
  const shown = time.textContent;
  time.title = shown.endsWith("UTC") ? shown : shown + " UTC";
  time.textContent = shown.endsWith("UTC")
    ? `${at.getFullYear()}-${day(at)} ${clock(at)}` : `${day(at)} ${clock(at)}:${two(at.getSeconds())}`;
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

// Convert all times within an element, and the note that names their zone.
function showTimes(within) {
  within.querySelectorAll("time").forEach(showLocal);
  for (const text of within.querySelectorAll("text[data-at]")) {
    const at = new Date(text.dataset.at), seconds = text.textContent.length > 5;
    text.textContent = clock(at) + (seconds ? ":" + two(at.getSeconds()) : "");
  }
  if (zone !== "UTC")
    for (const note of within.querySelectorAll(".utc"))
      note.textContent = `Times are those of ${zone}; UTC shows when you point at one.`;
}

showTimes(document);
const cookie = "zone=" + zone;
const isKnown = () => document.cookie.split("; ").includes(cookie);
if (!isKnown()) {
  document.cookie = cookie + "; path=/ui; max-age=31536000; samesite=lax";
  // The server counted days in another zone: reload.
  const counted = document.querySelector("section[data-zone]");
  if (isKnown() && counted && counted.dataset.zone !== zone) location.reload();
}
// Times that people type are in their own zone.
for (const field of document.querySelectorAll("input[name=zone]")) {
  field.value ||= zone;
  document.getElementById("zone").textContent = field.value;
}
