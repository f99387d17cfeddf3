// What a widget shows is HTML that was rendered and escaped on the server; this puts it into the page, keeps focus and what is
// being typed, counts down times, and says what was asked for. The same file runs in notebooks (anywidget) and in Panel.
//
//   html    what is shown
//   asked   {count, action, ...}: set when somebody presses, sends or changes what carries data-ask="action"
//   shown   where a model has it: whether any view of it is on a page
//
// Attributes: data-ask on buttons, links, forms, selects; every other data-* of it and the fields of its form go along.
// data-left="120" counts down from there, in the words of data-units="d h min s"; data-confirm asks before anything is said;
// data-dismiss="key" hides its parent for good; data-focus="key" takes the focus when it appears, or appears with another key.

function fields(form) {
  const found = {};
  for (const [name, value] of new FormData(form)) {
    found[name] = name in found ? [].concat(found[name], value) : value;
  }
  return found;
}

// Change `live` into `wanted` without replacing what stays the same: focus, selection and open <details> survive.
function morph(live, wanted) {
  const now = Array.from(live.childNodes);
  const then = Array.from(wanted.childNodes);
  then.forEach((next, place) => {
    const old = now[place];
    if (!old) live.appendChild(next);
    else if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) live.replaceChild(next, old);
    else if (old.nodeType === Node.ELEMENT_NODE) morphElement(old, next);
    else if (old.data !== next.data) old.data = next.data;
  });
  now.slice(then.length).forEach((left) => left.remove());
}

function morphElement(old, next) {
  if (old.hasAttribute("data-keep") && next.getAttribute("data-keep") === old.getAttribute("data-keep")) return;
  const kept = old.nodeName === "DETAILS" ? ["open"] : [];
  for (const { name } of Array.from(old.attributes)) {
    if (!next.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of Array.from(next.attributes)) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const typing = old === old.getRootNode().activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(old.nodeName);
  if (!typing) {
    // Before its children move over.
    const value = next.value;
    morph(old, next);
    // What was once typed into a textarea or chosen in a select stays, unless data-live says that it follows what is rendered.
    const follows = old.nodeName === "INPUT" || next.hasAttribute("data-live");
    if (follows && old.value !== value) old.value = value;
  }
}

// data-left was true at the moment it arrived; from there on only elapsed time counts, whatever the clock of the machine says.
function countDown(root, since) {
  const passed = (performance.now() - since) / 1000;
  for (const place of root.querySelectorAll("[data-left]")) {
    const left = Math.max(0, Math.floor(Number(place.dataset.left) - passed));
    const [days, hours, minutes, seconds] = (place.dataset.units || "d h min s").split(" ");
    const parts = [[Math.floor(left / 86400), days], [Math.floor(left / 3600) % 24, hours], [Math.floor(left / 60) % 60, minutes]];
    const shown = parts.filter(([number]) => number).slice(0, 2);
    const text = left < 300 && left >= 60 ? `${Math.floor(left / 60)} ${minutes} ${left % 60} ${seconds}`
      : left < 60 ? `${left} ${seconds}` : shown.map(([number, unit]) => `${number} ${unit}`).join(" ");
    if (place.textContent !== text) place.textContent = text;
  }
}

function dismissed(key) {
  try { return localStorage.getItem("nvlhub-dismissed-" + key) === "1"; } catch { return false; }
}

function hideDismissed(root) {
  for (const button of root.querySelectorAll("[data-dismiss]")) {
    if (dismissed(button.dataset.dismiss)) button.parentElement.hidden = true;
  }
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "nvl";
  el.appendChild(root);
  let since = performance.now();
  let count = 0;
  let focused = "";

  function draw() {
    const wanted = document.createElement("template");
    wanted.innerHTML = model.get("html");
    since = performance.now();
    morph(root, wanted.content);
    hideDismissed(root);
    countDown(root, since);
    const wish = root.querySelector("[data-focus]");
    if (wish && wish.dataset.focus !== focused) wish.focus();
    focused = wish ? wish.dataset.focus : "";
  }

  function say(place, more) {
    if (place.dataset.confirm && !window.confirm(place.dataset.confirm)) return;
    const { ask, confirm, ...told } = place.dataset;
    count += 1;
    model.set("asked", { count: count + Math.random(), action: ask, ...told, ...more });
    model.save_changes();
  }

  root.addEventListener("click", (event) => {
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) {
      try { localStorage.setItem("nvlhub-dismissed-" + dismiss.dataset.dismiss, "1"); } catch { /* hidden until the next visit */ }
      dismiss.parentElement.hidden = true;
      return;
    }
    const place = event.target.closest("[data-ask]");
    if (!place || /^(FORM|SELECT|INPUT|TEXTAREA)$/.test(place.nodeName)) return;
    event.preventDefault();
    say(place, place.form ? fields(place.form) : {});
  });
  root.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.dataset.ask) say(event.target, fields(event.target));
  });
  // `input` for what is checked while it is typed, `change` for choices.
  let typed = 0;
  root.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-typed]");
    if (!form) return;
    clearTimeout(typed);
    typed = setTimeout(() => say({ dataset: { ask: form.dataset.typed } }, fields(form)), 250);
  });
  root.addEventListener("change", (event) => {
    if (event.target.dataset.ask) say(event.target, { value: event.target.value });
  });

  const clock = setInterval(() => countDown(root, since), 1000);
  // A model may have several views, on several pages: who is still there says so again.
  let here = true;
  function tellShown() {
    if (typeof model.get("shown") !== "boolean" || model.get("shown") === here) return;
    model.set("shown", here);
    model.save_changes();
  }
  const stillShown = () => here && tellShown();
  model.on("change:html", draw);
  model.on("change:shown", stillShown);
  draw();
  tellShown();
  return () => {
    here = false;
    clearInterval(clock);
    clearTimeout(typed);
    model.off("change:html", draw);
    model.off("change:shown", stillShown);
    try { tellShown(); } catch { /* the kernel is gone */ }
  };
}

export default { render };
