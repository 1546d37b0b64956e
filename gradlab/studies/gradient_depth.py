"""How the gradient's size changes from the last layer to the first, beside what theory says, and who learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.models import Mlp
from gradlab.studies.base import Findings, Finished, Setting, checked_variants
from gradlab.studies.layers import hidden_layers
from gradlab.studies.mean_field import arriving


@dataclass(frozen=True, slots=True)
class Depth:
    """The gradient over the hidden layers of one run, before its first update.

    Attributes:
        measured: the norm of the gradient at each hidden layer's sums, the layer nearest to the input first.
        predicted: the same as a share of the last one, by theory.
        weights: the RMS of each hidden layer's weights' gradients.
    """

    measured: np.ndarray
    predicted: np.ndarray
    weights: np.ndarray

    @property
    def gain(self) -> float:
        """The factor of one layer on the way back, as the geometric mean over all of them."""
        return _gain(self.measured)

    @property
    def predicted_gain(self) -> float:
        """The same by theory."""
        return _gain(self.predicted)

    @property
    def whole(self) -> float:
        """The factor from the last hidden layer to the first."""
        return float(self.measured[0] / self.measured[-1])


class GradientDepth:
    """Runs variants of a deep network, and compares the gradient over their layers at the first step.

    Args:
        variants: a name for each, and what is set otherwise, as on the command line: ``["model.init=he"]``.

    The runs need the probes ``gradients`` and ``chain``, both at step 0.
    """

    def __init__(self, variants: Mapping[str, Sequence[str]]) -> None:
        self._variants = checked_variants(variants)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import gradient_depth as picture  # matplotlib is slow to import
        from gradlab.figures.comparison import FIGURES

        x = next(iter(setting.parts()[2].train_dataloader()))[0]
        runs = setting.run(self._variants)
        depths = {run.name: depth_of(run, float((x.double() ** 2).mean())) for run in runs}
        return Findings(
            numbers={
                **{f"gain {name}": depth.gain for name, depth in depths.items()},
                **{f"predicted gain {name}": depth.predicted_gain for name, depth in depths.items()},
                **{f"first/last {name}": depth.whole for name, depth in depths.items()},
                **{f"accuracy {run.name}": run.metrics["accuracy"] for run in runs if "accuracy" in run.metrics},
            },
            rows=[
                ("variant", "gain of a layer", "by theory", "first / last layer", "accuracy", "status"),
                *(_row(run, depths[run.name]) for run in runs),
            ],
            figures={
                "gradient_depth": picture.figure(depths),
                "losses": FIGURES["losses"]({run.name: run.memory for run in runs}),
            },
            statuses={run.name: run.status for run in runs},
        )


def depth_of(run: Finished, mean_square: float) -> Depth:
    """What a run recorded at its first step, layer by layer.

    Args:
        run: of an ``Mlp``, with the records ``chain/<layer>/upstream`` and ``gradient/<layer>.weight/rms``.
        mean_square: of the entries of the network's input.

    Raises:
        BadInput: the model is no ``Mlp`` with two hidden layers or more, or a record is missing.
    """
    hidden = hidden_layers(run)
    assert isinstance(run.model, Mlp)
    if len(hidden) < 2:
        raise BadInput(f"{run.name}: there is no depth to compare over: give model.hidden two numbers or more")
    upstream = np.array([_first(run, f"chain/{name}/upstream") for name in hidden])
    weights = np.array([_first(run, f"gradient/{name}.weight/rms") for name in hidden])
    return Depth(upstream, arriving(run.model, mean_square), weights)


def _first(run: Finished, tag: str) -> float:
    found = run.memory.scalars(tag)
    if tag not in found:
        raise BadInput(f"{run.name}: there is no record {tag}: choose 'probes=[gradients,chain]'")
    return float(found[tag][1][0])


def _gain(sizes: np.ndarray) -> float:
    return float((sizes[0] / sizes[-1]) ** (1 / (len(sizes) - 1)))


def _row(run: Finished, depth: Depth) -> tuple[str, ...]:
    numbers = f"{depth.gain:.3g}", f"{depth.predicted_gain:.3g}", f"{depth.whole:.1e}"
    return (run.name, *numbers, run.cell("accuracy", ".3f"), run.status)
