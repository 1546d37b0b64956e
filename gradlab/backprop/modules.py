"""Which module an operation belongs to, without anybody naming the model.

PyTorch calls global hooks before and after every module's forward. While a tape is open they keep a stack of the
modules that are running; an operation belongs to the innermost one. Paths are relative to the outermost module
called, so they read as the model's author writes them: ``encoder.fc``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules import module as torch_module


@dataclass(frozen=True, slots=True)
class Scope:
    """A place in a model: the module that was running, and its path from the outermost module called."""

    path: str
    module: nn.Module | None
    root: nn.Module | None

    @property
    def label(self) -> str:
        """What to print: the path, or the class name for the outermost module itself."""
        return self.path or (type(self.module).__name__ if self.module is not None else "(no module)")


OUTSIDE = Scope("", None, None)


@dataclass(slots=True)
class ModuleTracker:
    """Follows which module is running, while it is open."""

    stack: list[Scope] = field(default_factory=list)
    _paths: dict[nn.Module, dict[nn.Module, str]] = field(default_factory=dict)
    _handles: list = field(default_factory=list)

    @property
    def current(self) -> Scope:
        return self.stack[-1] if self.stack else OUTSIDE

    def open(self) -> None:
        self._handles = [
            torch_module.register_module_forward_pre_hook(self._enter),
            torch_module.register_module_forward_hook(self._leave, always_call=True),
        ]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.stack.clear()
        self._paths.clear()

    def _enter(self, module: nn.Module, inputs: object) -> None:
        root = self.stack[0].module if self.stack else module
        assert root is not None
        if root not in self._paths:
            self._paths[root] = {m: name for name, m in root.named_modules()}
        path = self._paths[root].get(module, type(module).__name__)
        self.stack.append(Scope(path, module, root))

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        # A module whose forward raised inside a caught exception may leave scopes above it: drop them too.
        while self.stack and self.stack.pop().module is not module:
            pass
