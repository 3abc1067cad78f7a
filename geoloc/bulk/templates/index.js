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

  function filter() {
    const words = control("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const scene = control("scene").value;
    const kept = only[control("only").value];
    let count = 0;
    for (const card of cards) {
      const text = texts.get(card);
      const shown = words.every((word) => text.includes(word)) &&
        (!scene || card.dataset.scene === scene) && kept(card.dataset);
      card.hidden = !shown;
      count += shown;
    }
    control("count").value = count === cards.length ? `${count} shown` : `${count} of ${cards.length} shown`;
    control("nothing").hidden = count > 0 || cards.length === 0;
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
    list.append(...cards);
  }

  function show(button, seen) {
    button.classList.toggle("seen", seen);
    button.setAttribute("aria-pressed", String(seen));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.thumb");
    if (button) show(button, !button.classList.contains("seen"));
  });
  // A link to a picture that the filter hides shows it.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#item-']");
    const card = link && document.getElementById(link.getAttribute("href").slice(1));
    if (card) card.hidden = false;
  });
  control("unblur").addEventListener("change", (event) => {
    document.body.classList.toggle("unblurred", event.target.checked);
  });
  control("reset").addEventListener("click", () => {
    control("controls").reset();
    document.body.classList.remove("unblurred");
    sort();
    filter();
  });
  control("controls").addEventListener("submit", (event) => event.preventDefault());
  control("text").addEventListener("input", filter);
  control("scene").addEventListener("change", filter);
  control("only").addEventListener("change", filter);
  control("sort").addEventListener("change", sort);
})();
