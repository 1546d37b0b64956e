"""The Gradlab tab in a real browser, driven as people drive it."""

from __future__ import annotations

import re

import pytest
import tab_runs
from playwright.sync_api import expect
from wrong_functions import WRONG

HOSTILE = f"hostile {tab_runs.EVIL}"
DAMAGED = ["older", "damaged_structure", "damaged_file", "dangling", "wrong_module", "wrong_places"]
PANELS = {
    "Graph": ["backprop", "chain_rule", "himmelblau/momentum", "wrong"],
    "Flow": ["backprop", "wrong"],
    "Agreement": ["backprop", "wrong"],
    "Surface": ["himmelblau/momentum", "himmelblau/adam"],
    "Partials": ["backprop", "himmelblau/adam"],
}


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_shows_its_runs(tab, panel):
    for run in PANELS[panel]:
        tab.look_at(run, panel)
        expect(tab.panel).to_be_visible()
        expect(tab.page.locator(".notice.error")).to_have_count(0)
    tab.picture()


@pytest.mark.parametrize(
    ("run", "panel"), [("chain_rule", "Surface"), ("backprop", "Surface"), ("chain_rule", "Partials")]
)
def test_a_run_without_data_for_a_panel_says_so(tab, run, panel):
    tab.look_at(run, panel)
    expect(tab.page.locator(".notice")).to_contain_text("This run has no")
    assert (
        "python -m gradlab" in tab.page.locator(".notice").inner_text()
        or "probes=" in tab.page.locator(".notice").inner_text()
    )
    expect(tab.page.locator("#step-label")).to_be_empty()
    expect(tab.page.locator("#step")).to_be_hidden()


def test_inside_tensorboard(new_tab, server):
    """The frame, its policy and the dark mode are TensorBoard's own."""
    tab = new_tab()
    tab.page.goto(server.url("/?darkMode=true#gradlab"))
    frame = tab.page.frame_locator("iframe")
    frame.get_by_label("run", exact=True).select_option("chain_rule")
    frame.get_by_role("tab", name="Graph").click()
    expect(frame.locator("#graph-picture [data-operation]").first).to_be_visible()
    html = frame.locator("html")
    expect(html).to_have_class(re.compile("dark"))
    assert _brightness(html.evaluate("e => getComputedStyle(e).backgroundColor")) < 100
    assert _brightness(html.evaluate("e => getComputedStyle(e).color")) > 200
    tab.picture()
    tab.page.locator("body.dark-mode").evaluate("e => e.classList.remove('dark-mode')")
    expect(html).not_to_have_class(re.compile("dark"))
    assert _brightness(html.evaluate("e => getComputedStyle(e).backgroundColor")) > 200


def _brightness(color):
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


def test_it_slides_by_keys_and_by_buttons(tab):
    tab.look_at("backprop", "Graph")
    slider = tab.page.get_by_role("slider", name="step")
    slider.press("Home")
    assert tab.step == 0
    before = tab.panel.inner_text()
    slider.press("ArrowRight")
    assert tab.step == 10
    assert tab.panel.inner_text() != before
    tab.page.get_by_role("button", name="next step").click()
    assert tab.step == 20
    tab.page.get_by_role("button", name="previous step").click()
    assert tab.step == 10
    slider.press("End")
    assert tab.step == 50
    slider.press("Home")
    assert tab.panel.inner_text() == before


def test_it_plays_as_a_film(tab):
    tab.look_at("himmelblau/momentum", "Surface")
    tab.page.get_by_role("slider", name="step").press("Home")
    tab.page.locator("body").press(" ")
    expect(tab.page.locator("#step-label")).to_contain_text("step 3 ")
    tab.page.get_by_role("button", name="pause").click()
    stopped = tab.step
    tab.page.wait_for_timeout(400)
    assert tab.step == stopped


def test_a_click_on_an_operation_shows_its_chain_rule(tab):
    tab.look_at("chain_rule", "Graph")
    tab.page.locator("#graph-picture [data-operation^=sin]").first.click()
    details = tab.page.locator("#graph-details")
    for word in ("sin", "upstream", "local derivative", "manual", "autograd", "numeric"):
        expect(details).to_contain_text(word)


def test_formulas_are_in_the_names_of_the_expression(tab):
    """f = c + y with c = x·b, b = sin(a), a = x·y: in the rules' own symbols it would be y = a + b."""
    tab.look_at("chain_rule", "Graph")
    tab.page.locator("#graph-picture [data-operation^=add]").click()
    details = tab.page.locator("#graph-details")
    for words in ("f = c + y", "∂L/∂f", "∂f/∂c = 1, ∂f/∂y = 1"):
        expect(details).to_contain_text(words)
    tab.page.locator("#graph-picture [data-operation^=sin]").click()
    for words in ("b = sin a", "∂L/∂b", "cos a"):
        expect(details).to_contain_text(words)


def test_the_worst_entry_is_named_by_its_index(tab):
    tab.look_at("backprop", "Graph")
    tab.page.get_by_role("button", name="unfold all modules").click()
    details = tab.page.locator("#graph-details")
    tab.page.locator('#graph-picture [data-value="0.weight"]').click()
    expect(details).to_contain_text(re.compile(r"worst entry: \[\d+, \d+\]"))
    tab.page.locator("#graph-picture [data-operation^=tanh]").first.click()
    expect(details).to_contain_text(re.compile(r"worst entry: x\[\d+, \d+\]"))


def test_a_single_step_is_said(tab):
    tab.look_at("chain_rule", "Graph")
    expect(tab.page.locator("#step-label")).to_have_text("step 0, the only one recorded here")


def test_a_click_on_a_variable_shows_the_sum_over_its_paths(tab):
    """f = x·sin(xy) + y at (2, −1): ∂f/∂x = sin(xy) + xy·cos(xy) = −0.909… + 0.832… = −0.0770…"""
    tab.look_at("chain_rule", "Graph")
    tab.page.locator('#graph-picture [data-value="x"]').first.click()
    details = tab.page.locator("#graph-details")
    expect(details).to_contain_text("−0.077")
    expect(details).to_contain_text("−0.909")
    expect(details).to_contain_text("0.832")


def test_the_backward_pass_is_played_from_the_loss_down(tab):
    tab.look_at("chain_rule", "Graph")
    tab.page.locator("#graph-picture [data-operation^=sin]").click()
    tab.page.get_by_role("button", name=re.compile("Play backward")).click()
    words = tab.page.locator("#backward-words")
    expect(words).to_be_visible()
    said = [words.inner_text()]
    for _ in range(4):
        tab.page.get_by_role("button", name=re.compile("^next N|next$")).last.click()
        said.append(words.inner_text())
    assert len(set(said)) == 5
    assert "a = x · y" in said[-1]
    expect(tab.page.locator("#graph-details h2")).to_have_text("mul #4")  # where they are shown, they follow
    tab.picture()
    tab.page.locator("body").press("Escape")
    expect(words).to_be_hidden()


def test_runs_are_switched_and_remembered(fresh_tab, server):
    fresh_tab.look_at("himmelblau/momentum", "Surface")
    expect(fresh_tab.panel).to_contain_text("himmelblau/momentum")
    fresh_tab.look_at("himmelblau/adam")
    expect(fresh_tab.page.locator(".readings")).to_contain_text("himmelblau/adam")
    fresh_tab.open(server.url())
    expect(fresh_tab.page.get_by_label("run", exact=True)).to_have_value("himmelblau/adam")  # once they are read
    expect(fresh_tab.page.get_by_role("tab", name="Surface")).to_have_attribute("aria-selected", "true")


def test_a_disagreement_is_loud_and_leads_to_the_culprit(tab):
    tab.look_at("wrong", "Agreement")
    alarm = tab.page.get_by_role("alert")
    expect(alarm).to_contain_text("disagree")
    alarm.get_by_role("button", name=re.compile("tanh")).click()
    expect(tab.page.get_by_role("tab", name="Graph")).to_have_attribute("aria-selected", "true")
    expect(tab.page.locator("#graph-details h2").first).to_contain_text("tanh")
    expect(tab.page.locator("#graph-details")).to_contain_text("disagree")
    name = WRONG["factor"][0].__name__
    expect(tab.page.locator("#graph-details")).to_contain_text(name)
    expect(tab.page.locator("#graph-details")).to_contain_text("wrong_functions.py:")
    expect(tab.page.locator("#graph-alarm")).to_contain_text(f"the custom Function {name}")
    tab.picture()


def test_a_right_run_agrees(tab):
    tab.look_at("backprop", "Agreement")
    expect(tab.panel).to_contain_text("They agree")
    expect(tab.page.get_by_role("alert")).to_have_count(0)


def test_a_cell_of_the_flow_opens_the_graph_at_its_step(tab):
    tab.look_at("backprop", "Flow")
    cells = tab.page.get_by_role("application", name=re.compile("Gradient flow"))
    cells.focus()
    for _ in range(3):
        cells.press("ArrowRight")
    cells.press("Enter")
    expect(tab.page.get_by_role("tab", name="Graph")).to_have_attribute("aria-selected", "true")
    expect(tab.page.locator("#graph-details h2").first).to_be_visible()


def test_the_point_on_a_surface_moves_with_the_step(tab):
    """Himmelblau at its start, (0, 0): L = 11² + 7² = 170, ∇L = (−14, −22)."""
    tab.look_at("himmelblau/momentum", "Surface")
    tab.page.get_by_role("slider", name="step").press("Home")
    for name, text in {"x": "0", "loss": "≈ 170", "∂loss/∂x": "−14", "∂loss/∂y": "−22"}.items():
        expect(tab.page.locator(f'.readings [data-name="{name}"]')).to_have_text(text)
    above = tab.page.locator("canvas.above")
    first = _pixels(above)
    assert _colors(tab.page.locator("canvas.ground")) > 24  # one for each band, and their edges
    tab.page.get_by_role("slider", name="step").press("End")
    expect(tab.page.locator('.readings [data-name="step"]')).to_have_text("59")
    assert _pixels(above) != first


def test_other_runs_lie_on_the_same_surface(tab):
    tab.look_at("himmelblau/momentum", "Surface")
    tab.page.get_by_role("checkbox", name="himmelblau/adam").check()
    expect(tab.page.locator(".readings caption")).to_have_text([" himmelblau/momentum", " himmelblau/adam"])
    tab.picture()
    tab.page.get_by_role("checkbox", name="himmelblau/adam").uncheck()
    expect(tab.page.locator(".readings caption")).to_have_count(1)


def test_runs_over_another_surface_are_not_offered(tab):
    tab.look_at("himmelblau/momentum", "Surface")
    offered = tab.page.get_by_role("group", name="runs to compare with").get_by_role("checkbox")
    expect(offered).to_have_count(2)
    names = [box.locator("xpath=..").inner_text().strip() for box in offered.all()]
    assert names == ["himmelblau/adam", "population"]
    tab.look_at("rosenbrock")
    expect(tab.panel).to_contain_text("There is none in this folder")


def test_a_surface_is_read_between_the_points_of_its_grid(tab):
    """Bicubic interpolation against the formula; the grid's spacing is 10 / 240, its error about 1e-4."""
    tab.look_at("himmelblau/adam", "Surface")
    points = [[3.0, 2.0], [0.513, -1.271], [-2.805118, 3.131312], [4.9999, 4.9999]]
    found = tab.page.evaluate(
        """async (points) => {
          const { readLandscape, smoothHeight } = await import("/data/plugin/gradlab/static/panels/surface_data.js");
          const { Reader, fetchRuns } = await import("/data/plugin/gradlab/static/api.js");
          const run = "himmelblau/adam";
          const landscape = await readLandscape(new Reader(), run, (await fetchRuns())[run]);
          return points.map(([x, y]) => smoothHeight(landscape, x, y));
        }""",
        points,
    )
    expected = [(x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2 for x, y in points]
    assert found == pytest.approx(expected, rel=1e-4, abs=2e-3)


def test_of_a_population_all_points_move(tab):
    tab.look_at("population", "Surface")
    tab.page.get_by_role("slider", name="step").press("End")
    wanted = {"points": "3 drawn", "within 0.01 of a minimizer": "1", "not finite": "1"}
    for name, text in wanted.items():
        expect(tab.page.locator(f'.readings [data-name="{name}"]')).to_have_text(text)


def test_a_path_without_a_surface_yet(tab):
    tab.look_at("path_alone", "Surface")
    expect(tab.page.locator(".surface .message")).to_contain_text("written when the run ends")
    expect(tab.page.locator('.readings [data-name="loss"]')).to_have_text("not known yet")
    assert _colors(tab.page.locator("canvas.above")) > 2
    tab.look_at("five")
    expect(tab.page.locator(".notice")).to_contain_text("5 coordinates")


def _pixels(canvas):
    return canvas.evaluate("c => c.toDataURL()")


def _colors(canvas):
    """How many different ones there are."""
    return canvas.evaluate(
        """c => new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size"""
    )


def test_three_dimensions(fresh_tab):
    fresh_tab.look_at("himmelblau/adam", "Surface")
    fresh_tab.page.get_by_role("button", name="in 3-D").click()
    expect(fresh_tab.page.locator(".space canvas").first).to_be_attached()
    expect(fresh_tab.page.get_by_role("button", name="in 3-D")).to_have_attribute("aria-pressed", "true")
    fresh_tab.page.get_by_role("slider", name="step").press("Home")
    expect(fresh_tab.page.locator('.readings [data-name="step"]')).to_have_text("0")
    fresh_tab.picture()
    fresh_tab.page.get_by_role("button", name="from above").click()
    expect(fresh_tab.page.locator("canvas.ground")).to_be_visible()


def test_without_plotly_there_are_contours_and_a_word(fresh_tab):
    fresh_tab.allowed = re.compile("favicon.ico|plotly.js")
    answer = {"status": 404, "content_type": "application/json", "body": '{"error": "no plotly: pip install it"}'}
    fresh_tab.page.route("**/plotly.js", lambda route: route.fulfill(**answer))
    fresh_tab.look_at("himmelblau/adam", "Surface")
    fresh_tab.page.get_by_role("button", name="in 3-D").click()
    expect(fresh_tab.page.locator(".surface .message")).to_contain_text("no plotly: pip install it")
    expect(fresh_tab.page.locator("canvas.ground")).to_be_visible()


def test_without_webgl_there_are_contours_and_a_word(fresh_tab):
    fresh_tab.page.evaluate(
        """() => { const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind.startsWith("webgl") ? null : real.call(this, kind, ...rest); }; }"""
    )
    fresh_tab.look_at("himmelblau/adam", "Surface")
    fresh_tab.page.get_by_role("button", name="in 3-D").click()
    expect(fresh_tab.page.locator(".surface .message")).to_contain_text("no WebGL")
    expect(fresh_tab.page.locator("canvas.ground")).to_be_visible()


@pytest.mark.parametrize("panel", PANELS)
def test_names_from_a_run_are_never_html_and_numbers_that_are_none_are_said(tab, panel):
    tab.look_at(HOSTILE, panel)
    expect(tab.page.locator("#stage")).not_to_contain_text("cannot be shown")
    for key in ("Home", "ArrowRight", "End"):
        tab.page.locator("body").press(key)
    assert tab.page.locator("img").count() == 0
    assert tab.page.evaluate("window.hurt") is None


def test_nan_and_infinity_are_shown_as_such(tab):
    tab.look_at(HOSTILE, "Graph")
    slider = tab.page.get_by_role("slider", name="step")
    slider.press("Home")
    expect(tab.panel).not_to_contain_text("NaN")
    slider.press("ArrowRight")
    expect(tab.panel).to_contain_text("NaN")
    slider.press("ArrowRight")
    expect(tab.panel).to_contain_text("∞")


def test_a_mask_of_infinities_is_no_alarm_but_nan_is(tab):
    tab.look_at("masked", "Graph")
    expect(tab.panel).to_contain_text("softmax")
    expect(tab.panel).not_to_contain_text("Not finite (NaN")
    tab.look_at("masked_by_nan", "Graph")
    expect(tab.panel).to_contain_text("Not finite (NaN")


@pytest.mark.parametrize("run", DAMAGED)
def test_damage_stays_in_its_panel(tab, run):
    for panel in PANELS:
        tab.look_at(run, panel)
        expect(tab.page.locator("#stage")).not_to_be_empty()
    if run != "damaged_file":
        tab.look_at(run, "Graph")
        expect(tab.page.locator(".notice")).to_be_visible()
    if run == "older":
        expect(tab.page.locator(".notice")).to_contain_text("another version of gradlab")
    if run == "dangling":
        expect(tab.page.locator(".notice")).to_contain_text("it refers to what is not there")
    tab.look_at("chain_rule", "Graph")
    expect(tab.page.locator("#graph-picture [data-operation]").first).to_be_visible()
    for key in ("b", "n", "Escape"):  # nothing of the damaged run listens any more
        tab.page.locator("body").press(key)


@pytest.mark.parametrize("panel", PANELS)
def test_a_narrow_window(new_tab, server, panel):
    tab = new_tab(480, 800).open(server.url(), PANELS[panel][0], panel)
    expect(tab.panel).to_be_visible()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 480
    for control in tab.page.locator("#bar button:visible, #bar select").all():
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 480
    tab.picture()
    tab.page.set_viewport_size({"width": 340, "height": 700})
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 340


def test_in_a_low_window_the_picture_stays_large_enough(new_tab, server):
    """As in 1280 × 800 pixels at 200 %."""
    tab = new_tab(640, 400).open(server.url(), "backprop", "Graph")
    tab.page.locator("#graph-picture [data-operation]").first.click()
    expect(tab.page.locator("#graph-details h2")).to_be_visible()
    assert tab.page.locator("#graph-picture").bounding_box()["height"] > 180


@pytest.mark.parametrize("panel", PANELS)
def test_by_keyboard_alone(tab, panel):
    """Every control is reached by the tab key, seen when it has the focus, and has a name."""
    tab.look_at(PANELS[panel][0], panel)
    tab.page.locator("body").evaluate("() => document.activeElement.blur()")
    wanted = tab.page.evaluate(f"() => {{ {CONTROLS} return controls().length; }}")
    reached = set()
    for _ in range(wanted + 25):
        tab.page.keyboard.press("Tab")
        found = tab.page.evaluate(f"() => {{ {CONTROLS} return focused(); }}")
        if found is None:
            continue
        assert found["name"], f"no accessible name: {found['html']}"
        assert found["seen"], f"the focus is not seen: {found['html']}"
        reached.add(found["place"])
    assert reached == set(range(wanted))


# Of a group of tabs, or of nodes, only one is a stop of the tab key: the others have tabindex −1,
# and arrows lead there.
CONTROLS = """
  const controls = () => [...document.querySelectorAll("button, select, input, a[href], summary, [tabindex]")]
    .filter((e) => e.tabIndex >= 0 && e.checkVisibility({ visibilityProperty: true }) && !e.disabled);
  const focused = () => {
    const e = document.activeElement;
    const place = controls().indexOf(e);
    if (place < 0) return null;
    const labels = [...(e.labels ?? [])].map((l) => l.textContent).join(" ");
    const name = e.getAttribute("aria-label") || labels || e.textContent || e.title;
    const style = getComputedStyle(e);
    const seen = style.outlineStyle !== "none" || e.querySelector(".body") !== null;
    return { place, name: name.trim(), seen, html: e.outerHTML.slice(0, 200) };
  };
"""


def test_tabs_and_steps_by_arrows(tab):
    tab.look_at("himmelblau/momentum", "Graph")
    graph = tab.page.get_by_role("tab", name="Graph")
    step = tab.step
    graph.press("ArrowLeft")  # there is nothing to the left
    assert tab.step == step
    graph.press("ArrowRight")
    expect(tab.page.get_by_role("tab", name="Flow")).to_be_focused()
    tab.look_at(panel="Surface")
    tab.page.get_by_role("button", name="from above").focus()
    tab.page.keyboard.press("End")
    assert tab.step == 59
    tab.page.keyboard.press("ArrowLeft")
    assert tab.step == 58
    tab.page.keyboard.press("Shift+ArrowLeft")
    assert tab.step == 48


def test_a_running_job_is_followed(tab, logs, server):
    growing = tab_runs.Growing(logs / "live")
    try:
        growing.step(3)
        server.wait_for('"live"')
        tab.page.get_by_label("run", exact=True).locator('option[value="live"]').wait_for(state="attached")
        tab.look_at("live", "Graph")
        tab.page.get_by_role("slider", name="step").press("End")
        before = tab.step
        growing.step(3)
        expect(tab.page.locator("#step-label")).to_have_text(f"step {before + 3} of {before + 3}")
    finally:
        growing.lab.close()
