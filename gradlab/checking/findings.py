"""What a check finds out about one tensor: the record that reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["agree", "wrong", "kink", "precision", "nondeterministic", "not reached", "not differentiable"]
FAILURES = ("wrong", "nondeterministic")


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one tensor.

    Attributes:
        name: of the argument or parameter.
        kind: ``input``, ``parameter`` or ``captured``.
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
        hint: what the pattern of the error suggests.
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

    @property
    def ok(self) -> bool:
        return self.verdict not in FAILURES

    @property
    def place(self) -> str:
        """The name with the index of the entry: ``weight[2,0]``."""
        return self.name + (f"[{','.join(map(str, self.index))}]" if self.index else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with complex numbers as text."""
        plain = asdict(self)
        plain["numbers"] = {k: str(v) if isinstance(v, complex) else v for k, v in self.numbers.items()}
        return plain
