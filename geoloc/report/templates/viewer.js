"use strict";
// The page: candidates on the map and beside the photo, areas to search, controls, keys.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id), all = (selector) => [...document.querySelectorAll(selector)];
  const map = createMap(data), heat = createHeat(data, map), tools = createTools(data, map, heat);
  const compare = $("compare"), lightbox = $("lightbox"), photos = all(".photo img"), marks = [];
  const phone = matchMedia("(max-width: 980px)");
  let chosen = null, photo = 0;

  // --- candidates ------------------------------------------------------------------------
  const card = (rank) => $(`candidate-${rank}`);

  function addMarkers() {
    data.candidates.forEach(({ rank, x, y, area }, i) => {
      const element = document.createElement("button");
      Object.assign(element, { type: "button", className: "marker", textContent: rank, title: `Candidate ${rank}`, ariaLabel: `Candidate ${rank}, area ${area}` });
      element.style.zIndex = data.candidates.length - i; // the better one lies on top
      element.addEventListener("click", () => choose(rank));
      element.addEventListener("focus", () => {
        if (element.matches(":focus-visible") && !visible(mark)) map.fly(x, y);
      });
      $("markers").append(element); // in this order the tabulator reaches them
      const mark = map.addPoint({ element, x, y, rank, area });
      marks.push(mark);
      card(rank).querySelector(".chip").addEventListener("click", () => choose(rank));
    });
  }

  const visible = ({ screen: [x, y] }) => x > 0 && y > 0 && x < map.element.clientWidth && y < map.element.clientHeight;

  // Where markers would hide each other, the worse one is a dot.
  map.addPainter(() => {
    const drawn = [];
    for (const mark of marks) {
      const near = drawn.some(({ screen: [x, y] }) => Math.hypot(x - mark.screen[0], y - mark.screen[1]) < 20);
      mark.element.classList.toggle("dot", near && mark !== chosen);
      if (!near) drawn.push(mark);
    }
  });

  function mark(rank) {
    const before = chosen;
    chosen = marks.find((other) => other.rank === rank) ?? null;
    for (const { element, rank: other } of marks) {
      const here = other === rank;
      element.classList.toggle("chosen", here);
      element.setAttribute("aria-pressed", String(here));
      card(other).classList.toggle("chosen", here);
    }
    return before;
  }

  function choose(rank) {
    const before = mark(rank);
    if (before && document.activeElement === before.element) chosen.element.focus({ preventScroll: true });
    fillCompare();
    compare.hidden = false;
    document.documentElement.classList.add("comparing");
    if (phone.matches) map.element.scrollIntoView({ block: "start" });
    else card(rank).scrollIntoView({ block: "nearest", behavior: "smooth" });
    map.fly(chosen.x, chosen.y);
  }

  function step(by) {
    const now = marks.indexOf(chosen), next = chosen ? now + by : by > 0 ? 0 : marks.length - 1;
    if (marks.length) choose(marks[(next + marks.length) % marks.length].rank);
  }

  function close() {
    const before = mark(null);
    compare.hidden = true;
    document.documentElement.classList.remove("comparing");
    if (compare.contains(document.activeElement) || document.activeElement === document.body) before?.element.focus({ preventScroll: true });
    map.redraw();
  }

  // --- photo and place side by side, equally high ------------------------------------------
  const ratio = (image) => (image ? image.width / image.height : 0);
  const covered = (image) => Boolean(image?.closest("details.sensitive:not([open])"));
  const widthOf = (image) => ({ width: +image.getAttribute("width"), height: +image.getAttribute("height") });

  function side(name, image) {
    const figure = $(`compare-${name}`), shape = image && widthOf(image);
    figure.hidden = !image;
    if (!image) return 0;
    const shown = figure.querySelector("img");
    Object.assign(shown, shape);
    if (covered(image)) shown.removeAttribute("src");
    else shown.src = image.src;
    figure.style.flexGrow = ratio(shape);
    return ratio(shape);
  }

  function fillCompare() {
    const { rank, area } = chosen, chip = card(rank).querySelector(".chip img"), bounds = data.chips[rank];
    $("compare-title").textContent = `${rank} of ${marks.length} · area ${area}`;
    const wide = side("photo", photos[photo]) + side("chip", chip);
    const hidden = covered(photos[photo]);
    $("uncover").hidden = !hidden;
    $("compare-photo").querySelector(".magnify").hidden = hidden;
    $("pair").hidden = !wide;
    $("pair").style.setProperty("--ratio", wide);
    $("pair").classList.toggle("stacked", wide > 4); // beside a panorama the place would be tiny
    if (bounds) $("chip-size").textContent = `${Math.round(bounds[2] - bounds[0])} m`;
    $("other-photo").hidden = photos.length < 2;
    $("other-photo").textContent = `photo ${photo + 1} of ${photos.length}`;
    $("compare-text").replaceChildren(...card(rank).querySelector(".told").cloneNode(true).children);
  }

  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", close);
  $("other-photo").addEventListener("click", () => {
    photo = (photo + 1) % photos.length;
    fillCompare();
  });
  // --- sensitive pictures: what is shown is the reader's choice each time ------------------
  const covers = all("details.sensitive");
  for (const cover of covers) {
    cover.addEventListener("toggle", () => {
      if (chosen) fillCompare();
    });
  }
  $("uncover").addEventListener("click", () => {
    photos[photo].closest("details").open = true;
    fillCompare();
    $("compare-photo").querySelector(".magnify").focus();
  });
  addEventListener("pagehide", () => {
    for (const cover of covers) cover.open = false;
    if (covers.length) {
      lightbox.close();
      lightbox.firstElementChild.removeAttribute("src");
    }
    if (chosen) fillCompare();
  });
  for (const button of all(".enlarge, .magnify")) {
    button.addEventListener("click", () => {
      const shown = button.querySelector("img");
      Object.assign(lightbox.firstElementChild, { src: shown.src, alt: shown.alt });
      lightbox.showModal();
    });
  }
  lightbox.addEventListener("click", () => lightbox.close());

  // --- areas to search -------------------------------------------------------------------
  for (const button of all("[data-area]")) {
    button.addEventListener("click", () => {
      map.flyTo(data.areas[button.dataset.area - 1].bounds);
      if (phone.matches) map.element.scrollIntoView({ block: "start" });
    });
  }

  map.addPainter((context, toScreen) => {
    if (!chosen) return;
    context.beginPath();
    for (const ring of data.areas[chosen.area - 1].outline) {
      ring.forEach(([x, y], i) => (i ? context.lineTo(...toScreen(x, y)) : context.moveTo(...toScreen(x, y))));
      context.closePath();
    }
    for (const [strokeStyle, lineWidth] of [["#000", 5], ["#00e5ff", 2.5]]) {
      Object.assign(context, { strokeStyle, lineWidth, lineJoin: "round" });
      context.stroke();
    }
  });

  // --- layers ----------------------------------------------------------------------------
  async function addBase() {
    for (const [i, picture] of [...($("base")?.children ?? [])].entries()) {
      await picture.decode();
      map.addLayer(picture, data.base[i].bounds, picture.naturalWidth, picture.naturalHeight);
      map.redraw();
    }
  }

  if (data.truth) map.addPoint({ element: $("truth"), x: data.truth[0], y: data.truth[1] });
  for (const id of ["base", "heat", "markers"]) {
    $(`show-${id}`)?.addEventListener("change", (event) => {
      $(id).hidden = !event.target.checked;
      map.redraw();
    });
  }
  for (const cell of all("[data-mgrs]")) {
    cell.textContent = coordinates.mgrs(+cell.dataset.lat, +cell.dataset.lon) ?? "";
  }

  // --- keys ------------------------------------------------------------------------------
  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || lightbox.open) return;
    if (key === "Escape") {
      if (tools.measuring()) tools.measure(false);
      else if (chosen) close();
      else tools.removePin();
      return;
    }
    if (target.closest?.("input[type=text]")) return;
    const arrows = chosen && target !== map.element && !target.closest?.("input");
    if (key === "n" || (arrows && key === "ArrowRight")) step(1);
    else if (key === "p" || (arrows && key === "ArrowLeft")) step(-1);
    else if (key === "h") $("show-heat").click();
    else if (key === "m") tools.measure(!tools.measuring());
    else return;
    event.preventDefault();
  });

  addMarkers();
  map.fit();
  Promise.all([heat.load(), addBase()]).then(() => {
    map.draw();
    map.element.dataset.ready = "yes";
  });
})();
