"""How large each parameter's gradient is, how its entries are distributed, and what the update makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import is_

from torch import Tensor

from gradlab.probes.base import Need, Step
from gradlab.probes.clipping import Clipping
from gradlab.probes.gradient_blocks import Blocks
from gradlab.probes.series import Series
from gradlab.records import Record
from gradlab.schedules import Schedule, every
from gradlab.tensors import dense, floats_or_nan


class GradientProbe:
    """Statistics and a histogram of every gradient at every step, the update that follows, and clipping.

    | tag | number |
    |---|---|
    | ``gradient/<parameter>/<field>`` | the fields of `statistics`: l2, linf, rms, mean, std, min, …, nonfinite |
    | ``gradient/<parameter>/cosine`` | cosine of the angle to the previous step's gradient |
    | ``update/<parameter>/ratio`` | ‖Δθ‖/‖θ‖ of the update |
    | ``total/…`` | over all parameters of the optimizer: norm before and after clipping, clip coefficient, cosine |

    Records come in batches. Of a parameter with more than 32,768 entries, histogram and update ratio are taken from
    about as many of them, evenly spread; everything else counts every entry.

    Args:
        schedule: the steps to look at; every step by default. With gaps there are no cosines.
        bins: the number of bars in a histogram.
    """

    needs: Need = "gradients"

    def __init__(self, schedule: Schedule | None = None, bins: int = 30) -> None:
        self.schedule = schedule or every(1)
        self.bins = bins
        self._watched: dict[str, _Watched] = {}  # by optimizer

    def measure(self, step: Step) -> Iterable[Record]:
        watched = self._watched.get(step.label)
        if watched is not None and watched.takes(step):  # nearly always
            return ()
        return self._begin(step, watched)

    def _begin(self, step: Step, watched: _Watched | None) -> Iterator[Record]:
        """The first step, or the first one after a series that is full, or of other parameters."""
        if watched is not None:
            yield from watched.drain()  # now, while its weights are those after its last update
        gradients = {name: g for name, g in step.gradients.items() if g is not None and g.numel()}
        if not gradients:
            return
        if watched is None or tuple(gradients) != watched.names or not watched.watches(step.parameters):
            parameters = {name: step.parameters[name] for name in gradients}
            watched = self._watched[step.label] = _Watched(step.label, Series(parameters, self.bins))
        watched.add(step, list(map(dense, gradients.values())))

    def updated(self, step: Step) -> Iterable[Record]:
        """Called when the optimizer has used the gradients of a step that was measured."""
        watched = self._watched.get(step.label)
        if watched is None:
            return ()
        watched.updated(step)
        # Where there is no next look at once, other updates will have been made before it.
        return () if self.schedule(step.batch.stop) else watched.drain()

    def drain(self) -> Iterator[Record]:
        """What was measured and not yet returned; call it between two steps, or after the last."""
        for watched in self._watched.values():
            yield from watched.drain()


class _Watched:
    """The series of one optimizer's parameters, and what belongs to its steps beside the single parameters."""

    def __init__(self, label: str, series: Series) -> None:
        self._series = series
        self._blocks = Blocks(series.names, label)
        self._clippings: list[Clipping] = []
        self._follows = False  # whether the first step in the series comes right after the last one drained
        self._is_updated = False
        self._last = -1

    @property
    def names(self) -> tuple[str, ...]:
        return self._series.names

    def takes(self, step: Step) -> bool:
        """Adds a step that goes on where the series stands, of the very same parameters; says whether it did."""
        if step.updates != self._last + 1 or len(self._series.steps) >= self._series.most_steps:
            return False
        names = self._series.names
        gradients = [g for name in names if (g := step.gradients.get(name)) is not None]
        if len(gradients) != len(names) or self._others(step) or not self.watches(step.parameters):
            return False
        self.add(step, list(map(dense, gradients)))
        return True

    def _others(self, step: Step) -> bool:
        """Whether parameters beyond those of the series have a gradient with entries."""
        if len(step.gradients) == len(self._series.names):
            return False
        return any(g is not None and g.numel() for name, g in step.gradients.items() if name not in self._series.names)

    def watches(self, parameters: Mapping[str, Tensor]) -> bool:
        """Whether the series is of these very tensors, or of some of them."""
        return all(map(is_, self._series.parameters, map(parameters.get, self._series.names)))

    def add(self, step: Step, gradients: list[Tensor]) -> None:
        if not self._series.steps:
            self._follows = self._last >= 0 and step.updates == self._last + 1
        self._last, self._is_updated = step.updates, False
        self._series.add(step.index, gradients)
        self._clippings.append(step.clipping)

    def updated(self, step: Step) -> None:
        self._is_updated = self._is_updated or step.updates == self._last

    def drain(self) -> Iterator[Record]:
        if self._series.steps:
            steps, numbers = self._series.drain()
            after = [clipping.norm_after for clipping in self._clippings]
            self._clippings.clear()
            yield from self._blocks.of(steps, numbers, floats_or_nan(after), self._follows, self._is_updated)
