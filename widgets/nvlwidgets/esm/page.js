// Says so when nothing comes over the websocket, instead of an empty page.
(function () {
  const PATIENCE = 10000; // milliseconds
  // Parts lie in shadow roots, inside those of the columns that hold them.
  function holds(root) {
    return Array.from(root.querySelectorAll("*")).some(({ shadowRoot }) => shadowRoot && (shadowRoot.querySelector(".nvl, canvas") || holds(shadowRoot)));
  }
  function came() {
    const main = document.getElementById("main");
    return Boolean(main && holds(main));
  }
  function show(on) {
    const notice = document.getElementById("silent");
    if (notice) notice.hidden = !on;
  }
  setTimeout(() => {
    if (came()) return;
    show(true);
    const again = setInterval(() => { if (came()) { show(false); clearInterval(again); } }, 1000);
  }, PATIENCE);
})();
