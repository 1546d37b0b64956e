// The bar at the top: which run, which panel, which step.

import { h, refill } from "./dom.js";
import { placeOf } from "./series.js";

const PACE = 250; // milliseconds for a picture of a film
const PICTURES = 400; // of a film; it leaves steps out where a run has many more

/**
 * @param {import("./store.js").Store} store
 * @param {import("./main.js").Panel[]} panels
 */
export function controls(store, panels) {
  const run = h("select", { id: "run", "aria-label": "run", onchange: () => store.set({ run: run.value }) });
  const tabs = h(
    "nav",
    { role: "tablist", "aria-label": "panels" },
    panels.map((panel) => tab(store, panel)),
  );
  const slider = h("input", { id: "step", type: "range", min: 0, max: 0, value: 0, "aria-label": "step" });
  slider.addEventListener("input", () => store.set({ step: store.state.steps[slider.valueAsNumber] ?? 0 }));
  const label = h("output", { id: "step-label", for: "step" });
  const play = h("button", { id: "play", type: "button", "aria-keyshortcuts": "Space", onclick: () => toggle(store) });
  const back = stepper("previous step", "←", "‹", () => move(store, -1));
  const on = stepper("next step", "→", "›", () => move(store, 1));
  const time = h("div", { class: "time" }, play, back, slider, on, label);

  const draw = (changed) => {
    const { state } = store;
    if (changed.has("runs") || changed.has("run")) {
      refill(
        run,
        ...Object.keys(state.runs).map((name) =>
          h("option", { value: name, selected: name === state.run }, named(name)),
        ),
      );
      run.value = state.run;
    }
    for (const button of tabs.children) {
      const chosen = button.dataset.panel === state.panel;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    const { steps } = state;
    time.classList.toggle("empty", steps.length < 2);
    slider.max = String(Math.max(0, steps.length - 1));
    slider.value = String(placeOf(steps, state.step));
    slider.setAttribute("aria-valuetext", `step ${state.step}`);
    label.textContent = told(steps, state.step);
    play.textContent = state.playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", state.playing ? "pause" : "play");
    play.title = `${state.playing ? "pause" : "play the steps"} (space)`;
  };
  draw(new Set(["runs"]));
  store.listen(draw);
  document.addEventListener("keydown", (event) => onKey(store, event));
  film(store);
  return h("header", { id: "bar" }, h("label", { class: "run" }, "run ", run), tabs, time);
}

function stepper(name, key, sign, onclick) {
  const title = `${name} (${key}; ten with shift)`;
  return h("button", { type: "button", "aria-label": name, title, onclick }, sign);
}

function told(steps, step) {
  if (steps.length === 1) return `step ${step}, the only one recorded here`;
  return steps.length ? `step ${step} of ${steps.at(-1)}` : "";
}

/** TensorBoard calls a run that lies in the folder itself a dot. */
function named(run) {
  return run === "." ? ". (the folder itself)" : run;
}

function tab(store, panel) {
  const button = h(
    "button",
    { type: "button", role: "tab", id: `tab-${panel.id}`, onclick: () => store.set({ panel: panel.id }) },
    panel.title,
  );
  button.dataset.panel = panel.id;
  button.addEventListener("keydown", (event) => {
    if (!["ArrowRight", "ArrowLeft"].includes(event.key)) return;
    event.stopPropagation(); // at the last tab too, where there is nowhere to go: here arrows are no steps
    const next = event.key === "ArrowRight" ? button.nextElementSibling : button.previousElementSibling;
    next?.focus();
    next?.click();
  });
  return button;
}

function toggle(store) {
  const { playing, steps, step } = store.state;
  if (!playing && step === steps.at(-1)) store.set({ step: steps[0] ?? 0 }); // at the end a film begins anew
  store.set({ playing: !playing });
}

function move(store, by) {
  const { steps, step } = store.state;
  const place = Math.min(Math.max(placeOf(steps, step) + by, 0), steps.length - 1);
  store.set({ step: steps[place] ?? 0 });
}

/** Space plays, arrows step, Home and End go to the ends; where an element uses a key itself, it keeps it. */
function onKey(store, event) {
  const target = event.target instanceof Element ? event.target : document.body;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("select, textarea, [data-keys]")) return;
  if (event.key === " " && target.closest("button, a, summary")) return;
  const far = event.shiftKey ? 10 : 1;
  const { steps } = store.state;
  if (!steps.length) return;
  const actions = {
    " ": () => toggle(store),
    ArrowRight: () => move(store, far),
    ArrowLeft: () => move(store, -far),
    Home: () => store.set({ step: steps[0] ?? 0 }),
    End: () => store.set({ step: steps.at(-1) ?? 0 }),
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
}

function film(store) {
  let timer = 0;
  store.listen((changed) => {
    if (!changed.has("playing")) return;
    clearInterval(timer);
    if (!store.state.playing) return;
    timer = setInterval(() => {
      const { steps, step } = store.state;
      if (step === steps.at(-1)) store.set({ playing: false });
      else move(store, Math.max(1, Math.floor(steps.length / PICTURES)));
    }, PACE);
  });
}
