"""How many entries there is time for: all of them, if the budget allows; else the largest ones and a sample."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

FIRST = 8  # entries of every variable, whatever they cost: half of them the largest


class Budget:
    """Time for looking at single entries, shared among variables in proportion to their entries.

    Args:
        seconds: altogether.
        entries: of all variables together.
        clock: the time in seconds.
    """

    def __init__(self, seconds: float, entries: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._entries = max(1, entries)

    def look(self, order: Tensor, compare: Callable[[Tensor], None]) -> int:
        """Compares entries in this order, a few at first and then as many as the variable's share of time allows.

        Args:
            order: the places of all its entries, the most telling first.
            compare: looks at some of them.

        Returns:
            How many it looked at.
        """
        share = max(0.0, self._end - self._clock()) * len(order) / self._entries
        self._entries -= len(order)
        end, done, size = self._clock() + share, 0, FIRST
        while done < len(order):
            begin = self._clock()
            part = order[done : done + size]
            compare(part)
            done += len(part)
            now = self._clock()
            each = (now - begin) / len(part)
            left = len(order) - done
            if now + each * min(left, 2 * size) > end:
                break
            # All the rest where there is time for it: batches are cheaper the larger they are.
            size = left if now + each * left <= end else 2 * size
        return done


def telling_order(gradient: Tensor) -> Tensor:
    """All places of a flat gradient: alternately the next largest entry and one drawn at random.

    Example:
        >>> telling_order(torch.tensor([1.0, 5.0, 3.0]))[0].item()
        1
        >>> sorted(telling_order(torch.zeros(4)).tolist())
        [0, 1, 2, 3]
    """
    n = len(gradient)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(n, generator=generator)
    largest = gradient.abs().nan_to_num(nan=torch.inf).cpu().topk(min(n, 32)).indices
    first = torch.stack([largest, drawn[: len(largest)]], dim=1).reshape(-1)
    both = torch.cat([first, drawn])
    # The first of each place counts: a stable sort by place, then back into the order of arrival.
    places, arrival = both.sort(stable=True)
    is_first = torch.cat([torch.ones(1, dtype=torch.bool), places[1:] != places[:-1]]) if n else places.bool()
    return both[arrival[is_first].sort().values]
