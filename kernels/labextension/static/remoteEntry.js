// A JupyterLab plugin without a build step. It shows what GET /nvlhub/leases says: a start that waits (position, expected start,
// Cancel), the time left in the status bar, a lease that ends soon, why one has ended, and announcements.
// /lab?nvlhub-kernel=NAME opens a new notebook with that kernel, once.
(function () {
  "use strict";

  const CANCEL = "nvlhub:cancel-start";
  const EXTEND = "nvlhub:extend-lease";
  const RELEASE = "nvlhub:give-back-lease";
  const DISMISS = "nvlhub:dismiss-announcement";
  const EVERY = 2000; // milliseconds
  const QUIET = 30000; // milliseconds, while there is no GPU kernel
  const SPEC_TRIES = 10; // offers come from the portal after the server has started

  const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const address = config.baseUrl + "nvlhub/leases";

  // A link from elsewhere must not spend anybody's GPU-hours unasked; a button of the portal's own pages was pressed for it.
  function fromOurPages() {
    try {
      const from = new URL(document.referrer);
      const hub = config.hubPrefix || "/hub/";
      const site = hub.replace(/hub\/?$/, "");
      const pages = [site + "services/panels/", site + "services/portal/", site + "hub/home"];
      return from.origin === window.location.origin && pages.some((page) => from.pathname.startsWith(page));
    } catch {
      return false;
    }
  }

  // The wish is taken out of the address, so that it is not granted again each time the page is loaded; it is kept until it is
  // granted, because JupyterLab may load the page once more by itself (?reset).
  const WISH = "nvlhub-wish";
  const asked = new URLSearchParams(window.location.search).get("nvlhub-kernel");
  if (asked) {
    sessionStorage.setItem(WISH, JSON.stringify({ kernel: asked, ours: fromOurPages() }));
    const rest = window.location.search.slice(1).split("&").filter((part) => !part.startsWith("nvlhub-kernel=")).join("&");
    window.history.replaceState(window.history.state, "", window.location.pathname + (rest ? "?" + rest : "") + window.location.hash);
  }

  function wished() {
    const wish = sessionStorage.getItem(WISH);
    return wish ? JSON.parse(wish) : null;
  }

  // Under a hub every call needs the server's own token, reading ones too. What asks by itself is no activity of a person.
  function call(url, method, body) {
    const match = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
    const headers = { "X-XSRFToken": match ? decodeURIComponent(match[1]) : "" };
    return fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  }

  function fill(sentence, members) {
    return sentence.replace(/\{(\w+)\}/g, (all, name) => (name in members ? String(members[name]) : all));
  }

  function span(seconds, units) {
    const [days, hours, minutes, second] = units.split(" ");
    const left = Math.max(0, Math.floor(seconds));
    if (left < 60) return `${left} ${second}`;
    if (left < 300) return `${Math.floor(left / 60)} ${minutes} ${left % 60} ${second}`;
    const parts = [[Math.floor(left / 86400), days], [Math.floor(left / 3600) % 24, hours], [Math.floor(left / 60) % 60, minutes]];
    return parts.filter(([number]) => number).slice(0, 2).map(([number, unit]) => `${number} ${unit}`).join(" ");
  }

  const SIGNS = { "": "", soon: "⚠ ", last: "⚠⚠ " }; // the colour is never the only cue
  const STYLE = `
.nvlhub-left{font:inherit;border:0;border-radius:3px;background:none;color:inherit;padding:0 6px;cursor:pointer;height:100%}
.nvlhub-left[hidden]{display:none}
.nvlhub-left:focus-visible{outline:2px solid #0072b2;outline-offset:-2px}
.nvlhub-left[data-level=soon]{background:#ffd68a;color:#1d2420}
.nvlhub-left[data-level=last]{background:#a32a12;color:#fff;font-weight:600}
.nvlhub-spoken{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}`;

  // Time left of the lease of the notebook in front; else of the one that ends first.
  class StatusItem {
    constructor(Widget, pressed) {
      const style = document.createElement("style");
      style.textContent = STYLE;
      document.head.appendChild(style);
      this.button = document.createElement("button");
      this.button.type = "button";
      this.button.className = "nvlhub-left";
      this.button.hidden = true;
      this.button.addEventListener("click", () => this.item && pressed(this.item, this.left()));
      this.spoken = document.createElement("span");
      this.spoken.className = "nvlhub-spoken";
      this.spoken.setAttribute("role", "status");
      const node = document.createElement("div");
      node.append(this.button, this.spoken);
      this.widget = new Widget({ node });
      this.item = null;
      this.level = "";
    }

    left() {
      return Math.max(0, this.item.left - (performance.now() - this.since) / 1000);
    }

    put(items, kernel, words) {
      const running = items.filter((item) => typeof item.left === "number");
      this.item = running.find((item) => item.kernel === kernel)
        || running.reduce((first, item) => (first && first.left <= item.left ? first : item), null);
      this.since = performance.now();
      this.words = words;
      this.draw();
    }

    draw() {
      this.button.hidden = !this.item;
      if (!this.item) return;
      const level = this.left() > 900 ? "" : this.left() > 300 ? "soon" : "last";
      const text = fill(this.words[level || "left"], { time: span(this.left(), this.words.units) });
      this.button.dataset.level = level;
      this.button.lang = this.spoken.lang = this.words.lang;
      this.button.title = this.words.hint;
      const shown = SIGNS[level] + text;
      if (this.button.textContent !== shown) {
        this.button.textContent = shown;
        this.button.setAttribute("aria-label", `${text}. ${this.words.hint}`);
      }
      // Said once at each step, not with every second.
      if (level !== this.level) this.spoken.textContent = level ? text : "";
      this.level = level;
    }
  }

  function activate(app, parts, statusBar, tracker) {
    const shown = new Map(); // kernel -> {id, text}
    const warned = new Map(); // kernel -> kind of the last warning
    const mourned = new Set(); // kernels whose end was told
    let had = false; // whether a GPU kernel was seen: its end is told although it is gone
    let looked = -Infinity;
    let words = null;
    let status = null;
    let panel = ""; // the notification that the status bar opened last

    const notify = (message, type, options) => app.commands.execute("apputils:notify", { message, type, options });
    const say = (name) => () => (words ? words[name] : "");

    app.commands.addCommand(CANCEL, { label: say("queueCancel"), execute: (args) => call(address + "/" + args.kernel, "DELETE") });
    app.commands.addCommand(EXTEND, { label: say("extend"), execute: (args) => extend(args.kernel) });
    app.commands.addCommand(RELEASE, { label: say("release"), execute: (args) => giveBack(args.kernel) });
    app.commands.addCommand(DISMISS, { label: say("dismiss"), execute: (args) => dismiss(args.id) });

    async function sure(text, yes) {
      const { showDialog, Dialog } = parts.apputils || {};
      if (!showDialog) return window.confirm(text);
      const buttons = [Dialog.cancelButton({ label: words.cancel }), Dialog.okButton({ label: yes })];
      return (await showDialog({ title: "nvlhub", body: text, buttons })).button.accept;
    }

    async function extend(kernel) {
      const response = await call(`${address}/${kernel}/extend`, "POST", { seconds: 3600 });
      const { text } = await response.json();
      await notify(text, response.ok ? "success" : "error", { autoClose: response.ok ? 5000 : false });
      looked = -Infinity;
      await look();
    }

    // The kernel is shut down: that gives its lease back.
    async function giveBack(kernel) {
      if (!(await sure(words.sure, words.release))) return;
      const sessions = app.serviceManager.sessions;
      const session = Array.from(sessions.running()).find((model) => model.kernel && model.kernel.id === kernel);
      if (session) await sessions.shutdown(session.id);
      else await app.serviceManager.kernels.shutdown(kernel);
    }

    const button = (label, commandId, args) => ({ label, commandId, args });
    const extendAction = (item) => button(words.extend, EXTEND, { kernel: item.kernel });

    async function showPanel(item, left) {
      if (panel) await app.commands.execute("apputils:dismiss-notification", { id: panel });
      const text = fill(words.panel, { ...item, time: span(left, words.units) });
      const actions = [extendAction(item), button(words.release, RELEASE, { kernel: item.kernel })];
      panel = await notify(text, item.level ? "warning" : "info", { autoClose: 30000, actions });
    }

    async function showWaiting(item) {
      const known = shown.get(item.kernel);
      if (known && known.text === item.text) return;
      const options = { autoClose: false, actions: [button(item.cancel, CANCEL, { kernel: item.kernel })] };
      if (known) {
        await app.commands.execute("apputils:update-notification", { id: known.id, message: item.text, options });
        known.text = item.text;
      } else {
        shown.set(item.kernel, { id: await notify(item.text, "info", options), text: item.text });
      }
    }

    // The portal's own text counts down; one notification at each step is enough.
    function showWarning(item) {
      const kind = item.level || (item.warning ? "told" : "");
      if (kind && kind !== warned.get(item.kernel)) {
        const text = item.warning || fill(item.level === "last" ? words.warnLast : words.warnSoon, item);
        notify(text, item.level === "last" ? "error" : "warning", { autoClose: 60000, actions: item.level ? [extendAction(item)] : [] });
      }
      warned.set(item.kernel, kind);
    }

    const dismissal = (id) => "nvlhub-dismissed-announcement-" + id;

    // Once in this tab; dismissed here, it is dismissed on the dashboards, too.
    function announce(item) {
      try {
        if (localStorage.getItem(dismissal(item.id)) === "1" || sessionStorage.getItem(dismissal(item.id)) === "1") return;
        sessionStorage.setItem(dismissal(item.id), "1");
      } catch {
        if (mourned.has(dismissal(item.id))) return;
      }
      mourned.add(dismissal(item.id));
      const type = { warning: "warning", critical: "error" }[item.level] || "info";
      notify(item.text, type, { autoClose: false, actions: [button(words.dismiss, DISMISS, { id: item.id })] });
    }

    function dismiss(id) {
      try { localStorage.setItem(dismissal(id), "1"); } catch { /* until the tab is closed */ }
    }

    async function look() {
      const kernels = Array.from(app.serviceManager.kernels.running());
      had = had || kernels.some((kernel) => kernel.name.startsWith("nvlhub-"));
      if (!shown.size && !had && performance.now() - looked < QUIET) return;
      looked = performance.now();
      const response = await call(address + "?no_track_activity=1", "GET");
      if (!response.ok) return;
      const told = await response.json();
      words = told.words;
      for (const end of told.ended.filter((end) => !mourned.has(end.kernel))) {
        mourned.add(end.kernel);
        await notify(end.text, "error", { autoClose: false });
      }
      const waiting = told.items.filter((item) => item.text);
      for (const item of waiting) await showWaiting(item);
      told.items.forEach(showWarning);
      told.announcements.forEach(announce);
      drawStatus(told.items);
      for (const [kernel, known] of shown) {
        if (!waiting.some((item) => item.kernel === kernel)) {
          shown.delete(kernel);
          await app.commands.execute("apputils:dismiss-notification", { id: known.id });
        }
      }
    }

    function drawStatus(items) {
      if (!status) return;
      const context = tracker && tracker.currentWidget && tracker.currentWidget.sessionContext;
      const kernel = context && context.session && context.session.kernel;
      status.put(items, kernel ? kernel.id : "", words);
    }

    async function openWanted() {
      const wish = wished();
      if (!wish) return;
      const wanted = wish.kernel;
      const specs = app.serviceManager.kernelspecs;
      await specs.ready;
      const known = () => (specs.specs && Object.hasOwn(specs.specs.kernelspecs, wanted) ? specs.specs.kernelspecs[wanted] : null);
      for (let tries = 0; wanted.startsWith("nvlhub-") && !known() && tries < SPEC_TRIES; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, EVERY));
        await specs.refreshSpecs();
      }
      looked = -Infinity;
      await look();
      const name = known() ? known().display_name : wanted.slice(0, 100);
      const granted = known() && (wish.ours || (await sure(fill(words.startSure, { kernel: name }), words.start)));
      // Only now: whatever loads the page anew before finds the wish again.
      sessionStorage.removeItem(WISH);
      if (granted) await app.commands.execute("notebook:create-new", { kernelName: wanted });
      else if (!known()) await notify(fill(words.noKernel, { kernel: name }), "error", { autoClose: false });
    }

    function again() {
      look()
        .catch(() => undefined) // the server is away: JupyterLab says so itself
        .finally(() => setTimeout(again, EVERY));
    }

    if (statusBar && parts.widgets) {
      status = new StatusItem(parts.widgets.Widget, showPanel);
      statusBar.registerStatusItem("nvlhub:time-left", { item: status.widget, align: "right", rank: 0 });
      setInterval(() => status.draw(), 1000);
    }
    app.restored.then(() => {
      again();
      openWanted().catch((error) => console.warn("nvlhub: no notebook was opened", error));
    });
  }

  // JupyterLab shares its own modules with extensions in this scope: {name: {version: {get}}}.
  let scope = {};
  async function shared(name) {
    try {
      const [module] = Object.values(scope[name]);
      return (await module.get())();
    } catch {
      return null; // an application without this part
    }
  }

  async function plugin() {
    const [statusbar, notebook, widgets, apputils] = await Promise.all(
      ["@jupyterlab/statusbar", "@jupyterlab/notebook", "@lumino/widgets", "@jupyterlab/apputils"].map(shared)
    );
    const tokens = [statusbar && statusbar.IStatusBar, notebook && notebook.INotebookTracker];
    return {
      id: "nvlhub:leases",
      autoStart: true,
      optional: tokens.filter(Boolean),
      activate: (app, ...services) => {
        const [statusBar, tracker] = tokens.map((token) => (token ? services.shift() : null));
        activate(app, { widgets, apputils }, statusBar, tracker);
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["nvlhub"] = {
    init: (given) => { scope = given; },
    get: async () => {
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
