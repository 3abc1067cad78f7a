"use strict";
// A map without tiles, servers or libraries: layers in the area's own projected metres.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const map = $("map"), heat = $("heat"), pin = $("pin"), readout = $("readout");
  const [left, bottom, right, top] = data.bounds;
  const view = { x: (left + right) / 2, y: (bottom + top) / 2, scale: 1 }; // centre, px per metre
  const baseStep = data.base.length ? data.base[0].step : 0; // metres per pixel; 0 where there is none
  const layers = [], marks = [];
  let levels = null, blank = null, chosen = null, pinned = null, queued = false;

  // --- drawing -------------------------------------------------------------------------
  const toScreen = (x, y) => [
    map.clientWidth / 2 + (x - view.x) * view.scale,
    map.clientHeight / 2 - (y - view.y) * view.scale,
  ];
  const toMap = (px, py) => [
    view.x + (px - map.clientWidth / 2) / view.scale,
    view.y - (py - map.clientHeight / 2) / view.scale,
  ];
  const put = (element, x, y) => {
    const [px, py] = toScreen(x, y);
    element.style.transform = `translate(${px}px, ${py}px)`;
  };

  function draw() {
    queued = false;
    for (const { element, bounds, width, height } of layers) {
      const [px, py] = toScreen(bounds[0], bounds[3]);
      const sx = ((bounds[2] - bounds[0]) / width) * view.scale;
      const sy = ((bounds[3] - bounds[1]) / height) * view.scale;
      element.style.transform = `matrix(${sx}, 0, 0, ${sy}, ${px}, ${py})`;
    }
    for (const { element, x, y } of marks) put(element, x, y);
    if (pinned) put(pin, ...pinned);
    // Close-ups help only where they are sharper than the base map.
    $("closeups").style.visibility = view.scale > 1.1 / baseStep ? "visible" : "hidden";
    drawScale();
  }

  function redraw() {
    if (!queued) requestAnimationFrame(draw);
    queued = true;
  }

  function drawScale() {
    const most = 150 / view.scale, power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((m) => m * power).find((m) => m <= most);
    $("scale").style.width = `${length * view.scale}px`;
    $("scale").firstElementChild.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
  }

  // --- moving --------------------------------------------------------------------------
  const fitScale = () =>
    0.96 * Math.min(map.clientWidth / (right - left), map.clientHeight / (top - bottom));

  function clampView() {
    view.scale = Math.min(Math.max(view.scale, fitScale() / 3), 20);
    view.x = Math.min(Math.max(view.x, left), right);
    view.y = Math.min(Math.max(view.y, bottom), top);
  }

  function fit() {
    Object.assign(view, { x: (left + right) / 2, y: (bottom + top) / 2, scale: fitScale() });
    redraw();
  }

  function zoom(factor, px = map.clientWidth / 2, py = map.clientHeight / 2) {
    const [x, y] = toMap(px, py);
    view.scale *= factor;
    clampView();
    view.x = x - (px - map.clientWidth / 2) / view.scale;
    view.y = y + (py - map.clientHeight / 2) / view.scale;
    clampView();
    redraw();
  }

  function pan(dx, dy) {
    view.x -= dx / view.scale;
    view.y += dy / view.scale;
    clampView();
    redraw();
  }

  function fly(x, y) {
    const from = { ...view }, scale = Math.max(view.scale, fitScale() * 4);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const start = performance.now(), time = calm ? 1 : 350;
    const step = (now) => {
      const t = Math.min(Math.max((now - start) / time, 0), 1), ease = t * t * (3 - 2 * t);
      view.x = from.x + (x - from.x) * ease;
      view.y = from.y + (y - from.y) * ease;
      view.scale = from.scale * (scale / from.scale) ** ease;
      redraw();
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  const touches = new Map();
  let travelled = 0;
  const local = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const span = () => {
    const [[ax, ay], [bx, by]] = [...touches.values()];
    return [Math.hypot(ax - bx, ay - by), (ax + bx) / 2, (ay + by) / 2];
  };

  map.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    map.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, local(event));
    if (touches.size === 1) travelled = 0;
    map.classList.add("moving");
  });
  map.addEventListener("pointermove", (event) => {
    const now = local(event), before = touches.get(event.pointerId);
    if (before && touches.size === 1) {
      travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      pan(now[0] - before[0], now[1] - before[1]);
      touches.set(event.pointerId, now);
    } else if (before) {
      const [was, wasX, wasY] = span();
      touches.set(event.pointerId, now);
      const [is, isX, isY] = span();
      travelled = Infinity;
      pan(isX - wasX, isY - wasY);
      if (was > 0) zoom(is / was, isX, isY);
    }
    readout.textContent = describe(...toMap(...now));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    map.addEventListener(name, (event) => {
      if (!touches.delete(event.pointerId)) return;
      map.classList.toggle("moving", touches.size > 0);
      if (name === "pointerup" && travelled < 4) drop(...toMap(...local(event)));
    });
  }
  map.addEventListener("pointerleave", () => { readout.textContent = ""; });
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), ...local(event));
  }, { passive: false });
  map.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    if (moves[event.key]) pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
    readout.textContent = describe(view.x, view.y);
  });
  $("zoom-in").addEventListener("click", () => zoom(1.6));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  $("zoom-fit").addEventListener("click", fit);

  // --- what is at a place ----------------------------------------------------------------
  function degrees(x, y) {
    const { knots, lon, lat } = data.degrees, last = knots - 2;
    const u = ((x - left) / (right - left)) * (knots - 1), v = ((top - y) / (top - bottom)) * (knots - 1);
    const i = Math.min(Math.max(Math.floor(u), 0), last), j = Math.min(Math.max(Math.floor(v), 0), last);
    const at = (t) => {
      const k = j * knots + i, a = u - i, b = v - j;
      return (t[k] * (1 - a) + t[k + 1] * a) * (1 - b) + (t[k + knots] * (1 - a) + t[k + knots + 1] * a) * b;
    };
    return [at(lon), at(lat)];
  }

  function levelAt(x, y) {
    const { bounds, width, height } = data.heat;
    const col = Math.floor(((x - bounds[0]) / (bounds[2] - bounds[0])) * width);
    const row = Math.floor(((bounds[3] - y) / (bounds[3] - bounds[1])) * height);
    return levels && col >= 0 && row >= 0 && col < width && row < height ? levels[row * width + col] : 0;
  }

  const percent = (share) => `${+(100 * share).toPrecision(share < 0.1 ? 1 : 2)} %`;

  function describe(x, y) {
    const [lon, lat] = degrees(x, y), level = levelAt(x, y);
    const place = `${lat.toFixed(5)}, ${lon.toFixed(5)}`;
    if (!level) return place;
    return `${place}  ${data.measure} ≤ ${data.heat.edges[level - 1].toPrecision(4)}, best ${percent(data.heat.shares[level - 1])}`;
  }

  function drop(x, y) {
    pinned = [x, y];
    pin.hidden = false;
    const [lon, lat] = degrees(x, y), what = document.createElement("b");
    what.textContent = `${lat.toFixed(6)}, ${lon.toFixed(6)}`;
    const anchors = Object.entries(data.links).map(([name, template]) => {
      const anchor = document.createElement("a");
      anchor.textContent = name;
      anchor.href = template.replaceAll("{lat}", lat.toFixed(6)).replaceAll("{lon}", lon.toFixed(6));
      anchor.target = "_blank";
      anchor.rel = "noreferrer noopener";
      return anchor;
    });
    $("place").replaceChildren(what, ...anchors);
    redraw();
  }

  // --- layers ----------------------------------------------------------------------------
  function addLayer(element, bounds, width, height) {
    layers.push({ element, bounds, width, height });
  }

  function paintHeat() {
    const { width, height, palette } = data.heat, worst = +$("best").value;
    const context = heat.getContext("2d"), image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer), table = new Uint32Array(256);
    palette.forEach(([r, g, b], i) => {
      if (i < worst) table[i + 1] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[levels[i]];
    // Cells that were not searched are hatched: nothing is known there, good or bad.
    for (let i = 0; blank && i < pixels.length; i++) {
      if (levels[i] || !(blank[i >> 3] & (128 >> (i & 7)))) continue;
      const line = (Math.floor(i / width) + (i % width)) % 4 === 0;
      pixels[i] = line ? 0xff5a5a5a : 0xb0b4b4b4; // alpha, blue, green, red
    }
    context.putImageData(image, 0, 0);
    $("best-value").textContent = percent(data.heat.shares[worst - 1]);
  }

  function paintRamp() {
    const context = $("ramp").getContext("2d");
    data.heat.palette.forEach((color, i) => {
      context.fillStyle = `rgb(${color.join()})`;
      context.fillRect(i, 0, 1, 1);
    });
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function addHeat() {
    const { bounds, width, height } = data.heat;
    Object.assign(heat, { width, height });
    addLayer(heat, bounds, width, height);
    if (data.heat.unsearched) blank = await unpack(data.heat.unsearched);
    levels = await unpack(data.heat.levels);
    paintHeat();
    paintRamp();
    map.dataset.ready = "yes";
  }

  async function addImages() {
    for (const [i, picture] of [...($("base")?.children ?? [])].entries()) {
      await picture.decode();
      addLayer(picture, data.base[i].bounds, picture.naturalWidth, picture.naturalHeight);
      redraw();
    }
    for (const [rank, bounds] of Object.entries(data.chips)) {
      const image = new Image();
      image.className = "layer";
      image.alt = "";
      image.src = $(`candidate-${rank}`).querySelector(".chip img").src;
      await image.decode();
      $("closeups").append(image);
      addLayer(image, bounds, image.naturalWidth, image.naturalHeight);
      redraw();
    }
    redraw();
  }

  function addMarkers() {
    for (const { rank, x, y } of [...data.candidates].reverse()) {
      const element = document.createElement("button");
      Object.assign(element, { type: "button", className: "marker", textContent: rank, title: `Candidate ${rank}` });
      element.addEventListener("click", () => choose(rank, false));
      $("markers").append(element);
      marks.push({ element, x, y, rank });
      const card = $(`candidate-${rank}`);
      card.querySelector(".chip").addEventListener("click", () => choose(rank, true));
    }
  }

  function choose(rank, fromCard) {
    chosen = marks.find((mark) => mark.rank === rank);
    for (const { element, rank: other } of marks) {
      element.classList.toggle("chosen", other === rank);
      element.style.zIndex = other === rank ? 1 : "auto";
      $(`candidate-${other}`).classList.toggle("chosen", other === rank);
    }
    if (fromCard) {
      if (map.getBoundingClientRect().top < 0 || innerWidth <= 980) map.scrollIntoView({ block: "nearest" });
      fly(chosen.x, chosen.y);
    } else $(`candidate-${rank}`).scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  // --- controls --------------------------------------------------------------------------
  $("opacity").addEventListener("input", (event) => { heat.style.opacity = event.target.value / 100; });
  $("best").addEventListener("input", () => { if (levels) paintHeat(); });
  for (const id of ["base", "heat", "markers", "closeups"]) {
    $(`show-${id}`)?.addEventListener("change", (event) => { $(id).hidden = !event.target.checked; });
  }
  const lightbox = $("lightbox");
  for (const button of document.querySelectorAll(".enlarge")) {
    button.addEventListener("click", () => {
      lightbox.firstElementChild.src = button.firstElementChild.src;
      lightbox.showModal();
    });
  }
  lightbox.addEventListener("click", () => lightbox.close());

  addMarkers();
  fit();
  new ResizeObserver(redraw).observe(map);
  addHeat().then(redraw);
  addImages();
})();
