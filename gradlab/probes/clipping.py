"""What happens to gradients between the backward pass and the update: clipping."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import torch
from torch import Tensor


class Clipping:
    """Looks at gradients before they may be clipped, and again when they are about to be used.

    Whoever clips writes to them in place, which autograd counts: while the count stands still nothing has to be
    computed.

    Args:
        gradients: as the parameters hold them, by name.

    Example:
        >>> gradient = torch.tensor([3.0, 4.0])
        >>> clipping = Clipping({"theta": gradient})
        >>> _ = gradient.mul_(0.1)
        >>> clipping.look()
        >>> float(clipping.norm_after)
        0.5
    """

    def __init__(self, gradients: Mapping[str, Tensor | None]) -> None:
        self._seen = gradients
        self._versions = _versions(gradients.values())
        self.norm_after: Tensor | None = None

    def restrict(self, names: Container[str]) -> None:
        """From now on, only these count."""
        kept = [(name, version) for name, version in zip(self._seen, self._versions, strict=True) if name in names]
        self._seen = {name: self._seen[name] for name, _ in kept}
        self._versions = [version for _, version in kept]

    def look(self) -> None:
        """Sets ``norm_after``, the L2 norm over all of them; it stays None where nothing was written to any."""
        gradients = self._seen.values()
        if _versions(gradients) != self._versions:
            self.norm_after = total_norm(g for g in gradients if g is not None)
        self._seen, self._versions = {}, []


def _versions(gradients: Iterable[Tensor | None]) -> list[int | None]:
    return [None if g is None else g._version for g in gradients]


@torch.no_grad()
def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The L2 norm over several tensors on any devices, as a number without dimensions."""
    norms = [torch.linalg.vector_norm(g.coalesce().values() if g.is_sparse else g).double() for g in gradients]
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
