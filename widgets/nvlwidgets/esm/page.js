// Says so when nothing comes over the websocket, instead of an empty page.
(function () {
  const PATIENCE = 10000; // milliseconds
  function came() {
    const main = document.getElementById("main");
    return Boolean(main && Array.from(main.querySelectorAll("*")).some((part) => part.shadowRoot && part.shadowRoot.querySelector(".nvl, canvas")));
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
