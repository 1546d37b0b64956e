"""What a check finds out about one tensor: the record that reports are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gradlab.hints import LEFT_PYTORCH, NOT_RETURNED
from gradlab.witnesses import Variable

Verdict = Literal["agree", "wrong", "kink", "precision", "nondeterministic", "not reached", "not differentiable"]
FAILURES = ("wrong", "nondeterministic")
SAY_IT_ALL = ("output", "operation")  # kinds whose names need no kind before them: "upstream gradient 0"


def about(variable: Variable) -> dict[str, Any]:
    """What a finding says of the tensor itself, whatever else it says."""
    return {
        "name": variable.name,
        "kind": variable.kind,
        "shape": tuple(variable.tensor.shape),
        "dtype": str(variable.tensor.dtype).removeprefix("torch."),
        "entries": variable.tensor.numel(),
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one tensor.

    Attributes:
        name: of the argument or parameter.
        kind: ``input``, ``parameter`` or ``captured``; ``output`` of what arrives at an output from above, and
            ``operation`` of an input that an operation has and nobody named.
        shape, dtype: of the tensor.
        verdict: see `Verdict`.
        condition: under which the verdict holds, such as ``with non-contiguous inputs``; empty: as the tensors were
            given.
        error: the relative error of autograd's gradient, at the entry ``index``.
        tolerance: the largest error that rounding explains.
        index: the entry where the error is largest; None where no single entry is meant.
        numbers: what each witness says about that entry; None means "not reached".
        errors: the estimated error of each number, where the witness gives one.
        entries: how many entries the tensor has.
        off: how many of those compared are off.
        compared: how many entries each witness compared with autograd's.
        alone: the witness that stands alone against all others; empty where none does.
        blame: the first operation whose upstream gradient is right and whose downstream one is not.
        hint: what the pattern of the error suggests: a guess.
        note: whatever else a reader should know.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    verdict: Verdict
    condition: str = ""
    error: float = 0.0
    tolerance: float = 0.0
    index: tuple[int, ...] | None = None
    numbers: Mapping[str, float | complex | None] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    entries: int = 0
    off: int = 0
    compared: Mapping[str, int] = field(default_factory=dict)
    alone: str = ""
    blame: str = ""
    hint: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.hint and not self.blame and self.is_missing_a_dependence:
            object.__setattr__(self, "hint", LEFT_PYTORCH)

    @property
    def ok(self) -> bool:
        return self.verdict not in FAILURES

    @property
    def is_plain(self) -> bool:
        """Whether the verdict says it all: the numbers are the same, or there are none."""
        return self.verdict in ("agree", "not reached")

    @property
    def place(self) -> str:
        """The name with the index of the entry: ``weight[2,0]``."""
        return self.name + (f"[{','.join(map(str, self.index))}]" if self.index else "")

    @property
    def label(self) -> str:
        """The name after its kind, ``parameter weight``, where the name does not say it: ``input``."""
        return self._with_kind(self.name)

    @property
    def label_of_place(self) -> str:
        """The same with the index of the entry: ``parameter weight[2,0]``."""
        return self._with_kind(self.place)

    def _with_kind(self, name: str) -> str:
        return name if self.kind in SAY_IT_ALL or re.match(rf"{self.kind}\b", name) else f"{self.kind} {name}"

    @property
    def is_missing_a_dependence(self) -> bool:
        """Whether the function's values change with this entry by more than both backward passes know of.

        Both start from the recorded operations. What an operation does wrong shows as a difference between the two; so
        where they agree with one another and not with the values, it is the record that lacks something.
        """
        numbers, numeric = self.numbers, self.numbers.get("numeric")
        if self.verdict != "wrong" or self.condition or numeric is None or "autograd" not in numbers:
            return False
        own, by_hand = (numbers.get(name) or 0.0 for name in ("autograd", "manual"))
        if "manual" not in numbers:
            return own == 0
        return abs(own - by_hand) <= self.tolerance * max(abs(own), abs(by_hand), abs(numeric))

    @property
    def is_of_a_backward_that_returned_none(self) -> bool:
        """Whether a custom Function's backward gave None, where otherwise autograd itself stopped."""
        is_none = "autograd" in self.numbers and self.numbers["autograd"] is None
        return is_none and self.hint == NOT_RETURNED and self.blame.startswith("the custom Function")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with complex numbers as text."""
        plain = asdict(self)
        plain["numbers"] = {k: str(v) if isinstance(v, complex) else v for k, v in self.numbers.items()}
        return plain
