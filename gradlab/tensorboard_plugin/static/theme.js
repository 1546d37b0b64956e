// Dark mode, as TensorBoard has it: a class on the body of the page around this frame.

/** Takes over the theme of the page around, now and whenever it changes. */
export function followTheme() {
  const outer = window.parent === window ? null : window.parent.document.body;
  const copy = () => document.documentElement.classList.toggle("dark", Boolean(outer?.classList.contains("dark-mode")));
  copy();
  if (outer) new MutationObserver(copy).observe(outer, { attributes: true, attributeFilter: ["class"] });
}

/** A colour of the style sheet, such as `--ink`, as the present theme has it: for canvases. */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Calls back whenever the theme changes. Returns what stops it. */
export function onTheme(changed) {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
  return () => observer.disconnect();
}
