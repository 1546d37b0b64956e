"""Which way the gradient takes in a transformer: around attention and MLP, or through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradlab.errors import BadInput
from gradlab.sinks import MemorySink
from gradlab.studies.base import Findings, Setting

LOSS = "loss/train"


@dataclass(frozen=True, slots=True)
class Skip:
    """A skip connection h + branch(h) over the steps.

    Attributes:
        name: of the branch, a module.
        steps: at which it was looked at [n].
        around, through: the norm of what the gradient of h receives by the addition, and by the branch [n].
        total: the norm of their sum [n].
    """

    name: str
    steps: np.ndarray
    around: np.ndarray
    through: np.ndarray
    total: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """through ÷ around."""
        return self.through / self.around

    @property
    def cosine(self) -> np.ndarray:
        """Of the angle between the two, by the law of cosines: |a + b|² = |a|² + |b|² + 2 |a| |b| cos."""
        mixed = self.total**2 - self.around**2 - self.through**2
        return mixed / (2 * self.around * self.through)


class SkipConnections:
    """Trains the configured network and follows the gradient along its skip connections, which a probe measures.

    Args:
        classes: among how many the network chooses, to know the loss of one that guesses; such as the vocabulary.
    """

    def __init__(self, classes: int) -> None:
        self._classes = int(classes)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import attention as picture  # matplotlib is slow to import

        (run,) = setting.run({"training": []})
        skips = skips_of(run.memory)
        if not skips:
            raise BadInput("this network has no skip connection, or nobody looks: set probes=[agreement,skips]")
        losses = run.memory.scalars()[LOSS]
        guess = math.log(self._classes)
        last, others = f"step {skips[0].steps[-1]}", ("through", "ratio")
        return Findings(
            numbers={
                "loss of a guess": guess,
                "loss at the first step": float(losses[1][0]),
                "loss at the last step": float(losses[1][-1]),
                **_numbers(skips, 0, "at the first step"),
                **_numbers(skips, -1, "at the last step"),
            },
            title="what the gradient receives around each branch and through it (norms)",
            rows=[
                ("branch, from the loss down", "around, step 0", *others, f"around, {last}", *others),
                *(_row(skip) for skip in skips),
            ],
            figures={"attention": picture.figure(skips, losses, guess)},
            statuses={run.name: run.status},
        )


def skips_of(memory: MemorySink) -> list[Skip]:
    """The skip connections that `gradlab.probes.SkipProbe` has recorded, from the loss down.

    Example:
        >>> from gradlab.records import Scalar
        >>> memory = MemorySink()
        >>> sizes = {"past": 4.0, "through": 3.0, "sum": 5.0}
        >>> memory.write([Scalar(f"skip/blocks.0.attention/{field}", 0, size) for field, size in sizes.items()])
        >>> [(skip.name, skip.share.tolist(), skip.cosine.tolist()) for skip in skips_of(memory)]
        [('blocks.0.attention', [0.75], [0.0])]
    """
    tags = memory.scalars("skip/")
    names = [tag.removeprefix("skip/").removesuffix("/past") for tag in tags if tag.endswith("/past")]
    return [_skip(name, tags) for name in names]


def _skip(name: str, tags: dict[str, tuple[np.ndarray, np.ndarray]]) -> Skip:
    steps, around = tags[f"skip/{name}/past"]
    through, total = (tags[f"skip/{name}/{field}"][1] for field in ("through", "sum"))
    return Skip(name, steps, around, through, total)


def _numbers(skips: list[Skip], place: int, when: str) -> dict[str, float]:
    shares = {f"{skip.name}: through ÷ around {when}": float(skip.share[place]) for skip in skips}
    return shares | {
        f"gradient at the first block ÷ at the last {when}": float(skips[-1].total[place] / skips[0].around[place]),
        f"product of all through ÷ around {when}": math.prod(shares.values()),
        f"greatest cosine between the two {when}": max(abs(float(skip.cosine[place])) for skip in skips),
    }


def _row(skip: Skip) -> tuple[str, ...]:
    numbers = (f"{column[place]:.3g}" for place in (0, -1) for column in (skip.around, skip.through, skip.share))
    return (skip.name, *numbers)
