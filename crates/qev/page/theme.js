// Light, dark, or as the system is; before anything is drawn, so that nothing flashes. Not a module: those come later.
(() => {
  try {
    const chosen = localStorage.getItem("qev-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // No storage: as the system is.
  }
})();
