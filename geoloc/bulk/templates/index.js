"use strict";
(() => {
  const list = document.getElementById("cards");
  const cards = [...list.children];
  const control = (id) => document.getElementById(id);
  const texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
  const numbers = new Set(["order", "distance", "copies", "cluster"]);

  const only = {
    "": () => true,
    photo: (data) => data.kind === "photo",
    video: (data) => data.kind === "video",
    clustered: (data) => data.cluster !== "",
    copied: (data) => data.copies !== "0",
    claimed: (data) => data.claimed !== "",
  };

  // Cards that do not match are taken out, and all is put back at once: hiding or moving
  // thousands of cards one by one in a page that is shown takes the browser a minute.
  function draw(linked) {
    const words = control("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const scene = control("scene").value;
    const kept = only[control("only").value];
    const matches = (card) => words.every((word) => texts.get(card).includes(word)) &&
      (!scene || card.dataset.scene === scene) && kept(card.dataset);
    const shown = cards.filter((card) => card === linked || matches(card));
    const place = document.createComment("");
    list.replaceWith(place);
    list.replaceChildren(...shown);
    place.replaceWith(list);
    control("count").value = shown.length === cards.length
      ? `${shown.length} shown` : `${shown.length} of ${cards.length} shown`;
    control("nothing").hidden = shown.length > 0 || cards.length === 0;
  }

  // What has no value comes last, whichever the direction; equal values keep the order of files.
  function sort() {
    const choice = control("sort").value;
    const key = choice.replace("-", "");
    const sign = choice.startsWith("-") ? -1 : 1;
    const order = (card) => Number(card.dataset.order);
    const compare = (a, b) => {
      const x = a.dataset[key];
      const y = b.dataset[key];
      if (x === "" || y === "") return (x === "") - (y === "");
      if (numbers.has(key)) return sign * (Number(x) - Number(y));
      return sign * (x < y ? -1 : x > y ? 1 : 0);
    };
    cards.sort((a, b) => compare(a, b) || order(a) - order(b));
  }

  function show(button, seen) {
    button.classList.toggle("seen", seen);
    button.setAttribute("aria-pressed", String(seen));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.thumb");
    if (button) show(button, !button.classList.contains("seen"));
  });
  // A link to a picture that the filter took out brings it back.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#item-']");
    const card = link && cards.find((one) => one.id === link.getAttribute("href").slice(1));
    if (card && !card.isConnected) draw(card);
  });
  control("unblur").addEventListener("change", (event) => {
    document.body.classList.toggle("unblurred", event.target.checked);
  });
  control("reset").addEventListener("click", () => {
    control("controls").reset();
    document.body.classList.toggle("unblurred", control("unblur").checked);
    sort();
    draw();
  });
  control("controls").addEventListener("submit", (event) => event.preventDefault());
  control("text").addEventListener("input", () => draw());
  control("scene").addEventListener("change", () => draw());
  control("only").addEventListener("change", () => draw());
  control("sort").addEventListener("change", () => {
    sort();
    draw();
  });
})();
