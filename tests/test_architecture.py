"""Which way imports run: the house's arrows, read from the source."""

import ast
from pathlib import Path

import pytest

import gradlab

PACKAGE = Path(gradlab.__file__).parent
ALONE = ["backprop", "records", "losses", "models", "data", "optimizers"]
SECOND_ORDER = {"newton.py", "gauss_newton.py"}  # the optimizers that need the handwritten sweep
LIGHTNING = {
    *("experiment", "study_run", "descent", "data", "callbacks", "build", "evaluate", "progress"),
    *("members", "member_losses"),
}
EXTRAS = {"ray": "ray_cluster.py", "optuna": "tuning.py"}  # where each may be imported; joblib, submitit: nowhere
TENSORBOARD = {"sinks", "loading", "tensorboard_plugin"}


def imports_of(path):
    """Every module that a file imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield node.module or ""


def files():
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("part", ALONE)
def test_these_parts_import_nothing_else_of_gradlab(part):
    own = [path for path in files() if part_of(path) == part]
    assert own
    for path in own:
        allowed = {part, "backprop"} if part == "optimizers" and path.name in SECOND_ORDER else {part}
        foreign = [m for m in imports_of(path) if m.split(".")[0] == "gradlab" and not {*m.split(".")[1:2]} & allowed]
        assert foreign == [], f"{path} imports {foreign}"


def test_lightning_and_tensorboard_are_met_in_few_places_only():
    for path in files():
        roots = {module.split(".")[0] for module in imports_of(path)}
        assert "lightning" not in roots or part_of(path) in LIGHTNING, path
        assert "tensorboard" not in roots or part_of(path) in TENSORBOARD, path


def test_only_the_reconciler_and_its_watch_walk_autograds_graph():
    """The tape looks into it too, but to refuse what it cannot follow."""
    for path in files():
        if "next_functions" in path.read_text(encoding="utf-8"):
            assert part_of(path) in ("blame", "graph", "witnesses") or path.name == "lost.py", path


def test_the_lab_knows_neither_hydra_nor_the_experiment():
    for part in ("lab", "probes", "reconcile", "blame", "graph", "hints", "agreement", "sinks", "figures"):
        for path in files():
            if part_of(path) == part:
                roots = {module.split(".")[0] for module in imports_of(path)}
                assert not roots & {"hydra", "omegaconf"}, path


def test_packages_of_extras_are_met_where_nobody_without_them_comes():
    for path in files():
        roots = {module.split(".")[0] for module in imports_of(path)}
        found = roots & {"ray", "optuna", "joblib", "submitit"}
        assert found <= {package for package, name in EXTRAS.items() if name == path.name}, path


def test_what_every_program_with_hydra_imports_is_light():
    """Hydra scans its plugins at each start, in other people's programs too."""
    plugins = sorted((PACKAGE.parent / "hydra_plugins" / "gradlab_launcher").glob("*.py"))
    assert plugins
    for path in plugins:
        at_the_top = ast.parse(path.read_text(encoding="utf-8")).body
        modules = {n.module for n in at_the_top if isinstance(n, ast.ImportFrom)}
        assert not any(isinstance(node, ast.Import) for node in at_the_top)
        assert {module.split(".")[0] for module in modules} <= {"__future__", "collections", "hydra", "omegaconf"}
