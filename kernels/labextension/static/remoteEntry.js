// A JupyterLab plugin without a build step: it needs nothing but the commands of the application.
// It shows what GET /nvlhub/leases says: a start that waits (position, expected start, Cancel), a lease that ends soon, and
// why one has ended.
(function () {
  "use strict";

  const CANCEL = "nvlhub:cancel-start";
  const EVERY = 2000; // milliseconds

  const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const address = config.baseUrl + "nvlhub/leases";

  // Under a hub every call needs the server's own token, reading ones too.
  function call(url, method) {
    const match = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
    return fetch(url, { method, headers: { "X-XSRFToken": match ? decodeURIComponent(match[1]) : "" } });
  }

  const plugin = {
    id: "nvlhub:leases",
    autoStart: true,
    activate: (app) => {
      const shown = new Map(); // kernel -> {id, text}
      const warned = new Map(); // kernel -> kind of the last warning
      const mourned = new Set(); // kernels whose end was told
      let had = false; // whether a GPU kernel was seen: its end is told although it is gone

      app.commands.addCommand(CANCEL, {
        label: "Cancel a start that waits for GPUs",
        execute: (args) => call(address + "/" + args.kernel, "DELETE"),
      });

      async function showWaiting(item) {
        const known = shown.get(item.kernel);
        if (known && known.text === item.text) return;
        const options = {
          autoClose: false,
          actions: [{ label: item.cancel, commandId: CANCEL, args: { kernel: item.kernel } }],
        };
        if (known) {
          await app.commands.execute("apputils:update-notification", { id: known.id, message: item.text, options });
          known.text = item.text;
        } else {
          const id = await app.commands.execute("apputils:notify", { message: item.text, type: "info", options });
          shown.set(item.kernel, { id, text: item.text });
        }
      }

      function showWarning(item) {
        // The text counts down; one notification each time it appears is enough.
        if (item.warning && !warned.get(item.kernel)) {
          app.commands.execute("apputils:notify", { message: item.warning, type: "warning", options: { autoClose: 60000 } });
        }
        warned.set(item.kernel, Boolean(item.warning));
      }

      async function look() {
        const kernels = Array.from(app.serviceManager.kernels.running());
        had = had || kernels.some((kernel) => kernel.name.startsWith("nvlhub-"));
        if (!shown.size && !had) return;
        const response = await call(address, "GET");
        if (!response.ok) return;
        const { items, ended } = await response.json();
        for (const end of ended.filter((end) => !mourned.has(end.kernel))) {
          mourned.add(end.kernel);
          await app.commands.execute("apputils:notify", { message: end.text, type: "error", options: { autoClose: false } });
        }
        const waiting = items.filter((item) => item.text);
        for (const item of waiting) await showWaiting(item);
        items.forEach(showWarning);
        for (const [kernel, known] of shown) {
          if (!waiting.some((item) => item.kernel === kernel)) {
            shown.delete(kernel);
            await app.commands.execute("apputils:dismiss-notification", { id: known.id });
          }
        }
      }

      function again() {
        look()
          .catch(() => undefined) // the server is away: JupyterLab says so itself
          .finally(() => setTimeout(again, EVERY));
      }
      app.restored.then(again);
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["nvlhub"] = {
    init: () => undefined,
    get: () => Promise.resolve(() => ({ __esModule: true, default: plugin })),
  };
})();
