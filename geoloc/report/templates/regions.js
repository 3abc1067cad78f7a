"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const told = JSON.parse($("data").textContent);
  const svg = $("nation"), map = $("map"), tip = $("tip"), under = $("under");
  const whole = svg.viewBox.baseVal, full = [0, 0, whole.width, whole.height];
  let view = [...full];

  function pixel() { // px of the drawing in one px of the screen
    const box = svg.getBoundingClientRect();
    return Math.max(view[2] / Math.max(box.width, 1), view[3] / Math.max(box.height, 1));
  }

  function show(next) {
    const k = Math.min(1, Math.max(1 / 40, next[2] / full[2]));
    const w = full[2] * k, h = full[3] * k;
    const x = Math.min(full[2] - w, Math.max(0, next[0])), y = Math.min(full[3] - h, Math.max(0, next[1]));
    view = [x, y, w, h];
    svg.setAttribute("viewBox", view.map((v) => v.toFixed(2)).join(" "));
    svg.style.setProperty("--still", String(Math.min(1.6, Math.max(pixel() * 0.78, k * 0.6))));
    const bar = $("bar"), length = Number(bar.dataset.px);
    bar.firstElementChild.style.width = `${length / pixel()}px`;
    bar.hidden = length / pixel() > map.clientWidth * 0.8;
  }

  function zoom(by, at = [view[0] + view[2] / 2, view[1] + view[3] / 2]) {
    const k = Math.min(1, Math.max(1 / 40, (view[2] * by) / full[2])) * full[2] / view[2];
    show([at[0] - (at[0] - view[0]) * k, at[1] - (at[1] - view[1]) * k, view[2] * k]);
  }

  function place(event) { // of the drawing, under the pointer
    const m = svg.getScreenCTM().inverse();
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(m);
    return [p.x, p.y];
  }

  function region(id) { return svg.querySelector(`#regions [data-region="${CSS.escape(id)}"]`); }

  function mark(id) {
    const shape = id === null ? null : region(id);
    under.setAttribute("d", shape ? shape.getAttribute("d") : "");
    for (const card of document.querySelectorAll(".candidate"))
      card.classList.toggle("chosen", card.dataset.region === id);
  }

  function words(id) {
    const row = told.regions[id];
    if (!row) return "No known place in this region.";
    const v = Object.fromEntries(told.keys.map((key, i) => [key, row[i]]));
    const lines = [`Region ${v.rank} of ${Object.keys(told.regions).length}${v.good ? ", good" : ""}`];
    lines.push(`best ${told.measure} ${v[told.best].toFixed(3)}${v.second === null ? "" : `, second ${v.second.toFixed(3)}`}`);
    if (told.ranking !== "minimum") lines.push(`${told.score} ${v.score.toFixed(3)}`);
    lines.push(`${v.count.toLocaleString("en")} known ${v.count === 1 ? "place" : "places"}`, `${v.lat.toFixed(5)}, ${v.lon.toFixed(5)}`);
    return lines.join("\n");
  }

  let held = null, moved = false;
  map.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    held = { at: [event.clientX, event.clientY], view: [...view] };
    moved = false;
  });
  addEventListener("pointerup", () => { held = null; map.classList.remove("moving"); });
  map.addEventListener("pointermove", (event) => {
    if (held) {
      const dx = event.clientX - held.at[0], dy = event.clientY - held.at[1];
      if (Math.hypot(dx, dy) > 3) { moved = true; map.classList.add("moving"); tip.hidden = true; }
      if (moved) { show([held.view[0] - dx * pixel(), held.view[1] - dy * pixel(), view[2]]); return; }
    }
    const shape = event.target.closest("#regions [data-region]");
    tip.hidden = !shape;
    if (!shape) { mark(null); return; }
    mark(shape.dataset.region);
    tip.textContent = words(shape.dataset.region);
    const box = map.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    tip.style.left = `${Math.min(x + 16, box.width - tip.offsetWidth - 6)}px`;
    tip.style.top = `${y + 16 + tip.offsetHeight > box.height ? y - tip.offsetHeight - 10 : y + 16}px`;
  });
  map.addEventListener("pointerleave", () => { tip.hidden = true; mark(null); });
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 150), place(event));
  }, { passive: false });
  map.addEventListener("click", (event) => {
    const shape = event.target.closest("#regions [data-region]");
    const card = shape && !moved && $(`region-${shape.dataset.region}`);
    if (card) card.scrollIntoView({ behavior: "smooth", block: "center" });
  });
  const keys = { "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), "0": () => show(full) };
  for (const [key, dx, dy] of [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]])
    keys[key] = () => show([view[0] + dx * view[2] / 8, view[1] + dy * view[3] / 8, view[2]]);
  map.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  $("zoom-in").addEventListener("click", () => zoom(0.6));
  $("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
  $("zoom-fit").addEventListener("click", () => show(full));

  for (const box of document.querySelectorAll("[data-layer]"))
    box.addEventListener("change", () => { for (const part of document.querySelectorAll(`#${box.dataset.layer}, #${box.dataset.layer}-rim`)) part.style.display = box.checked ? "" : "none"; });

  for (const card of document.querySelectorAll(".candidate")) {
    card.addEventListener("pointerenter", () => mark(card.dataset.region));
    card.addEventListener("pointerleave", () => mark(null));
    card.querySelector(".chip").addEventListener("click", () => {
      const b = region(card.dataset.region).getBBox(), w = Math.max(b.width * 8, full[2] / 12);
      show([b.x + b.width / 2 - w / 2, b.y + b.height / 2 - (w * full[3]) / full[2] / 2, w]);
      mark(card.dataset.region);
    });
  }

  const box = $("lightbox");
  for (const button of document.querySelectorAll(".enlarge"))
    button.addEventListener("click", () => { box.querySelector("img").src = button.querySelector("img").src; box.showModal(); });
  box.addEventListener("click", () => box.close());
  addEventListener("resize", () => show(view));
  show(full);
  map.dataset.ready = "yes";
})();
