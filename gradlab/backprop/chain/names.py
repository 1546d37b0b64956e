"""What things are called in a breakdown: modules by their path, values by the user's own names where they have some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count

from torch import Tensor, nn

from gradlab.backprop.chain.graph import Block, Graph, Use
from gradlab.backprop.chain.wording import OPEN_END
from gradlab.backprop.modules import Scope
from gradlab.backprop.values import Value


class Names:
    """Names for modules and tensors.

    Args:
        model: names and paths are relative to it; None means to the outermost module called.
        given: names for further tensors.
        graph: whose modules and values are to be named.
    """

    def __init__(self, model: nn.Module | None, given: Mapping[str, Tensor], graph: Graph) -> None:
        self._model = model
        self._paths: dict[nn.Module, dict[nn.Module, str]] = {}
        self._labels: dict[nn.Module, str] = {}
        self._tensors: dict[int, tuple[str, str]] = {}
        for name, tensor in given.items():
            self._tensors.setdefault(id(tensor), (name, "parameter" if isinstance(tensor, nn.Parameter) else ""))
        scopes = [block.scope for block in reversed(graph.blocks)]
        for root in dict.fromkeys(root for root in (model, *(scope.root for scope in scopes)) if root is not None):
            self._add(root)
        for scope in scopes:  # in the order of the forward pass: the first of a name has it plain
            self.label(scope)

    def label(self, scope: Scope) -> str:
        """The path of a module, the class name of an outermost one; empty outside of every module.

        Each module has a label of its own, also where several models have parts of the same name.
        """
        module = scope.module
        if module is None or scope.root is None:
            return ""
        if module not in self._labels:
            roots = [root for root in (self._model, scope.root) if root is not None]
            path = next(filter(None, (self._path(root, module) for root in roots)), type(module).__name__)
            taken = set(self._labels.values())
            self._labels[module] = next(label for label in _numbered(path) if label not in taken)
        return self._labels[module]

    def of_tensor(self, value: Value) -> tuple[str, str]:
        """The name and the kind (parameter, buffer) of a value's tensor object; both empty where nobody named it."""
        return self._tensors.get(id(value.users_tensor), ("", ""))

    def _path(self, root: nn.Module, module: nn.Module) -> str:
        if root not in self._paths:
            self._paths[root] = {m: name for name, m in root.named_modules()}
        return self._paths[root].get(module, "")

    def _add(self, root: nn.Module) -> None:
        found = {id(t): (name, "buffer") for name, t in root.named_buffers()}
        found |= {id(t): (name, "parameter") for name, t in root.named_parameters()}
        new = {key: each for key, each in found.items() if key not in self._tensors}
        taken = {name for name, _ in self._tensors.values()}
        prefixes = chain([""], (f"{name}." for name in _numbered(type(root).__name__)))
        prefix = next(p for p in prefixes if all(p + name not in taken for name, _ in new.values()))
        self._tensors |= {key: (prefix + name, kind) for key, (name, kind) in new.items()}


def _numbered(name: str) -> Iterator[str]:
    """The name, then the name with 2, 3, … behind it.

    Example:
        >>> names = _numbered("Linear")
        >>> next(names), next(names)
        ('Linear', 'Linear_2')
    """
    return (name if n == 1 else f"{name}_{n}" for n in count(1))


class ValueNames:
    """A name of its own for every value in a graph.

    Args:
        graph: the values' graph.
        names: names of tensors and modules.
        operations: what each block is called, such as ``mul``.
    """

    def __init__(self, graph: Graph, names: Names, operations: list[str]) -> None:
        self._names = names
        self._found: dict[Value, str] = {}
        self._kinds: dict[Value, str] = {}
        self._given: set[Value] = set()
        self._taken: set[str] = set()
        made = {value for block in graph.blocks for value, _ in block.outputs}
        self._name_sources(graph, made)
        for place, (block, operation) in enumerate(zip(graph.blocks, operations, strict=True), 1):
            self._name_outputs(block, f"{operation} #{place}", place)
        for place, block in reversed(list(enumerate(graph.blocks, 1))):  # in the order of the forward pass
            self._name_piece(block, place)

    def __getitem__(self, value: Value) -> str:
        return self._found.get(value, "constant")

    def kind(self, value: Value) -> str:
        """``parameter``, ``buffer``, ``input`` (from outside), ``made`` (by an operation), or ``constant``."""
        return self._kinds.get(value, "constant")

    def is_given(self, value: Value) -> bool:
        """Whether the name is the user's own, and not made up from the operation's."""
        return value in self._given

    def _name_sources(self, graph: Graph, made: set[Value]) -> None:
        sources = [v for v in _in_order_of_use(graph) if v not in made and (v.entry is None or v in graph.uses)]
        nameless: list[Value] = []
        for value in sources:
            name, kind = self._names.of_tensor(value)
            is_parameter = isinstance(value.users_tensor, nn.Parameter)
            self._kinds[value] = kind or ("parameter" if is_parameter else "input")
            if name and name not in self._taken:
                self._give(value, name)
            else:
                nameless.append(value)
        several = Counter(self._kinds[value] for value in nameless)
        numbers: Counter[str] = Counter()
        for value in nameless:
            kind = self._kinds[value]
            numbers[kind] += 1
            self._take(value, f"{kind} {numbers[kind]}" if several[kind] > 1 else kind, "′")

    def _name_outputs(self, block: Block, name: str, place: int) -> None:
        has_several = sum(g is not None for _, g in block.outputs) > 1
        for at, (value, gradient) in enumerate(block.outputs):
            self._kinds[value] = "made"
            own, _ = self._names.of_tensor(value)
            if own and own not in self._taken:
                self._give(value, own)
            else:
                self._take(value, f"{name}[{at}]" if has_several or gradient is None else name, f" #{place}")

    def _name_piece(self, block: Block, place: int) -> None:
        """A piece of something that has a name is called after it: ``theta[0]``."""
        rule = block.terms[0].rule
        if not block.is_single or rule is None or rule.name not in ("select", "slice"):
            return
        ((value, _),), (use,) = block.outputs, block.uses
        if value in self._given or use.how or (self.kind(use.value) == "made" and use.value not in self._given):
            return
        self._taken.discard(self._found[value])
        self._given.add(value)
        self._take(value, f"{self[use.value]}[{_index(block)}]", f" #{place}")

    def _give(self, value: Value, name: str) -> None:
        self._given.add(value)
        self._take(value, name, "")

    def _take(self, value: Value, name: str, otherwise: str) -> None:
        while name in self._taken:
            name += otherwise
        self._taken.add(name)
        self._found[value] = name


def _in_order_of_use(graph: Graph) -> Iterator[Value]:
    """The values as the forward pass met them."""
    uses: Iterable[Use] = (use for block in reversed(graph.blocks) for use in block.uses)
    return iter(dict.fromkeys([*(use.value for use in uses), *graph.uses]))


def _index(block: Block) -> str:
    """How one would write the piece that a selection or a slice takes: ``0``, ``:, 1:3``."""
    entry = block.terms[0].entry
    schema = entry.op._schema.arguments
    settings = {a.name: entry.argument(i, a.name) for i, a in enumerate(schema)}
    dims = entry.inputs[0].tensor.dim()
    dim = (settings["dim"] or 0) % max(dims, 1)
    if "index" in settings:
        piece = str(settings["index"])
    else:
        start, end, step = settings["start"] or "", settings["end"], settings["step"] or 1
        piece = f"{start}:{'' if end is None or end >= OPEN_END else end}" + (f":{step}" if step != 1 else "")
    return ", ".join([":"] * dim + [piece])
