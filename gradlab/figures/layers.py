"""Where the nodes of a small graph stand: in columns along the longest path, with few crossings.

The method of layers (K. Sugiyama, S. Tagawa, M. Toda, *Methods for Visual Understanding of Hierarchical System
Structures*, 1981): nodes into columns; stand-ins for edges where they pass a column; an order in each column that has
few crossings; then heights that make the edges straight.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

SWEEPS = 12
ROUNDS = 300
GRID = 0.25
PASSING = 1.0  # the room of an edge that passes a column, where a node has 1

Place = tuple[float, float]


def layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[dict[str, Place], list[list[Place]]]:
    """Place a graph without cycles: all edges lead to the right.

    Args:
        nodes: each edge's source stands before its target.
        edges: source and target of each.

    Returns:
        Column and height of each node, and for each edge the places that it passes, from source to target. Nodes of
        one column are at least 1 apart.

    Example:
        >>> places, routes = layers(["x", "a", "f"], [("x", "a"), ("a", "f"), ("x", "f")])
        >>> [round(column) for column, _ in places.values()], len(routes[2])
        ([0, 1, 2], 3)
    """
    columns = _columns(nodes, edges)
    chains = [_chain(i, source, target, columns) for i, (source, target) in enumerate(edges)]
    order = _order(nodes, columns, chains)
    heights = _heights(order, chains)
    place = {key: (float(column), heights[key]) for column, keys in enumerate(order) for key in keys}
    return {name: place[name] for name in nodes}, [[place[key] for key in chain] for chain in chains]


def _columns(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[Hashable, int]:
    """The length of the longest path to each node; a source stands as near to its first use as it can."""
    columns: dict[Hashable, int] = dict.fromkeys(nodes, 0)
    for node in nodes:
        columns[node] = max((columns[source] + 1 for source, target in edges if target == node), default=0)
    targets = {target for _, target in edges}
    for node in nodes:
        uses = [columns[target] for source, target in edges if source == node]
        if node not in targets and uses:
            columns[node] = min(uses) - 1
    return columns


def _chain(index: int, source: str, target: str, columns: dict[Hashable, int]) -> list[Hashable]:
    """The edge's ends, and a stand-in for it in each column between."""
    passed = range(columns[source] + 1, columns[target])
    between: list[Hashable] = [(index, column) for column in passed]
    columns.update(zip(between, passed, strict=True))
    return [source, *between, target]


def _order(nodes: Sequence[str], columns: Mapping[Hashable, int], chains: list[list[Hashable]]) -> list[list[Hashable]]:
    """From top to bottom in each column: the best of a few that come of sorting by the neighbours' means."""
    links = [link for chain in chains for link in pairwise(chain)]
    order: list[list[Hashable]] = [[] for _ in range(max(columns.values()) + 1)]
    for key, column in columns.items():
        order[column].append(key)
    best, fewest = order, _cost(order, links)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        order = [list(keys) for keys in order]
        for column in range(1, len(order)) if forwards else range(len(order) - 2, -1, -1):
            beside = {key: i for i, key in enumerate(order[column - 1 if forwards else column + 1])}
            means = {key: _mean(key, links, beside, forwards) for key in order[column]}
            if sweep % 4 > 1:  # among equals the last first, which finds other orders
                order[column].reverse()
            order[column].sort(key=lambda key: means[key])
        if (cost := _cost(order, links)) < fewest:
            best, fewest = order, cost
    return best


def _mean(
    key: Hashable, links: list[tuple[Hashable, Hashable]], beside: Mapping[Hashable, int], forwards: bool
) -> float:
    own = [a if forwards else b for a, b in links if (b if forwards else a) == key]
    return float(np.mean([beside[each] for each in own])) if own else len(beside) / 2


def _cost(order: list[list[Hashable]], links: list[tuple[Hashable, Hashable]]) -> tuple[int, float]:
    """Crossings, then how far edges climb."""
    at = {key: i - (len(keys) - 1) / 2 for keys in order for i, key in enumerate(keys)}
    column = {key: i for i, keys in enumerate(order) for key in keys}
    crossings = sum(
        column[a] == column[c] and (at[a] - at[c]) * (at[b] - at[d]) < 0
        for i, (a, b) in enumerate(links)
        for c, d in links[:i]
    )
    return crossings, sum(abs(at[a] - at[b]) for a, b in links)


def _heights(order: list[list[Hashable]], chains: list[list[Hashable]]) -> dict[Hashable, float]:
    """Each key is drawn to the mean of its neighbours, as far as the distances in its column allow."""
    beside: dict[Hashable, list[Hashable]] = {key: [] for keys in order for key in keys}
    for chain in chains:
        for a, b in pairwise(chain):
            beside[a].append(b)
            beside[b].append(a)
    at = {key: (len(keys) - 1) / 2 - i for keys in order for i, key in enumerate(keys)}
    for _ in range(ROUNDS):
        for keys in order:
            wished = [0.5 * at[key] + 0.5 * float(np.mean([at[b] for b in beside[key]] or [at[key]])) for key in keys]
            at.update(zip(keys, _apart(wished, [_room(key) for key in keys]), strict=True))
    for keys in order:  # what is nearly level becomes level
        snapped = [round(at[key] / GRID) * GRID for key in keys]
        at.update(zip(keys, _apart(snapped, [_room(key) for key in keys]), strict=True))
    return at


def _room(key: Hashable) -> float:
    return 1.0 if isinstance(key, str) else PASSING


def _apart(wished: Sequence[float], rooms: Sequence[float]) -> list[float]:
    """The heights nearest to those wished for that stand from top to bottom with room between.

    By least squares: neighbours that stand too close become a block and move together (pool adjacent violators).

    Example:
        >>> _apart([1.0, 0.8, -3.0], [1.0, 1.0, 1.0])
        [1.4, 0.4, -3.0]
    """
    offsets = np.cumsum([0.0, *(-(a + b) / 2 for a, b in pairwise(rooms))])
    blocks: list[tuple[float, int]] = []
    for height in np.asarray(wished) - offsets:
        blocks.append((float(height), 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (upper, m), (lower, n) = blocks[-2:]
            blocks[-2:] = [((m * upper + n * lower) / (m + n), m + n)]
    placed = np.repeat([height for height, _ in blocks], [n for _, n in blocks])
    return [float(round(height, 9)) for height in placed + offsets]
