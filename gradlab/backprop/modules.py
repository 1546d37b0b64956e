"""Which module and which line an operation belongs to, without anybody naming the model.

An operation belongs to the innermost module that is running. Paths are relative to the outermost module called, so
they read as the model's author writes them: ``encoder.fc``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import get_ident
from types import FrameType

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from gradlab.backprop.errors import TapeError

COMPILED = (
    "the module {} is compiled (torch.compile): its operations are fused and cannot be recorded one by one. Record the "
    "module it was made from (its attribute _orig_mod, or a copy that was never compiled)"
)
NO_MODULE = "(no module)"  # what is printed for an operation that ran outside of any


class Scope:
    """A place in a model: the module that was running, the outermost one called, and the place it was called from."""

    __slots__ = ("module", "root", "caller")

    def __init__(self, module: nn.Module | None, root: nn.Module | None, caller: Scope | None = None) -> None:
        self.module = module
        self.root = root
        self.caller = caller

    @property
    def path(self) -> str:
        """The path from the outermost module called; the class name where it is no part of that."""
        if self.module is self.root or self.root is None:
            return ""
        return next((name for name, m in self.root.named_modules() if m is self.module), type(self.module).__name__)

    @property
    def label(self) -> str:
        """What to print: the path, or the class name for the outermost module itself."""
        return self.path or (type(self.module).__name__ if self.module is not None else NO_MODULE)


OUTSIDE = Scope(None, None)


CALL = nn.Module._wrapped_call_impl.__code__  # what `nn.Module.__call__` is, unless somebody put something around it
# A module's call that is running: its frame, what called it, and the module's call around it.
Call = tuple[FrameType, "FrameType | None", Scope, "Call | None"]


class CallStack:
    """The modules that are running, as Python's own call stack tells them.

    Hooks on every module would tell the same, but where one is registered PyTorch calls all modules by a slower way:
    for a small network a quarter of autograd's whole forward and backward pass.

    The calls seen last are kept, with their frames, so that two calls of one module are told from each other and a
    call is read only once.

    Attributes:
        scope: where the code that was asked for last runs.
        asked_from: the frame of that code.
    """

    __slots__ = ("scope", "asked_from", "_innermost", "_opened_in")

    def __init__(self) -> None:
        self.scope = OUTSIDE
        self.asked_from: FrameType | None = None
        self._innermost: Call | None = None
        self._opened_in: FrameType | None = None

    def open(self, frame: FrameType) -> None:
        """From now on, modules that are called from this code count; those that it runs in do not."""
        self._opened_in = frame

    def move_to(self, frame: FrameType) -> None:
        """Notes in which call some code runs.

        Args:
            frame: that code's. Ask only where it is not the one that was asked for last.

        Raises:
            TapeError: where that is inside a compiled module.
        """
        self._innermost = call = self._call_of(frame)
        self.scope = OUTSIDE if call is None else call[2]
        self.asked_from = frame

    def forget(self) -> None:
        """Lets go of the frames, which hold what the modules were called with."""
        self.scope, self.asked_from, self._innermost, self._opened_in = OUTSIDE, None, None, None

    def _call_of(self, code: FrameType | None) -> Call | None:
        outside = self._opened_in
        while code is not None and code is not outside and code.f_code is not CALL:
            code = code.f_back
        if code is None or code is outside:
            return None
        called_by = code.f_back
        known = self._innermost
        while known is not None:
            frame, from_where, _, around = known
            if frame is code:
                return known
            if from_where is called_by:
                break  # by the same code as this one
            known = around
        else:
            around = self._call_of(called_by)
        module = code.f_locals["self"]
        scope = Scope(module, module, OUTSIDE) if around is None else Scope(module, around[2].root, around[2])
        if is_compiled(module):
            raise TapeError(COMPILED.format(scope.label))
        return code, called_by, scope, around


def is_compiled(module: nn.Module) -> bool:
    """Whether ``torch.compile(module)`` made it, or ``module.compile()`` was called."""
    return module._compiled_call_impl is not None or "_orig_mod" in module._modules


def is_anything_compiled() -> bool:
    """Whether ``torch.compile`` was called in this process; also where that cannot be told."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return dynamo is not None and bool(getattr(dynamo, "cached_backends", True))


class OtherThreads:
    """Notices modules that run in another thread than the one that opened it, where a tape sees nothing.

    Attributes:
        module: the class name of the first; empty where none did.
    """

    __slots__ = ("module", "_thread", "_handle")

    def __init__(self) -> None:
        self.module = ""
        self._thread = get_ident()
        self._handle = torch_module.register_module_forward_pre_hook(self._notice)

    def close(self) -> None:
        self._handle.remove()

    def _notice(self, module: nn.Module, inputs: object) -> None:
        if get_ident() != self._thread:
            self.module = self.module or type(module).__name__


PACKAGE = Path(__file__).parents[1]
OWN = str(PACKAGE) + os.sep
TORCH = str(Path(torch.__file__).parent) + os.sep  # with the separator: torchvision is not PyTorch
# What is looked at, not what looks: a model or a loss that comes with gradlab is read like one of the user's.
SHIPPED = tuple(str(PACKAGE / folder) + os.sep for folder in ("models", "losses"))
APPLY = str(Path(torch.__file__).parent / "autograd" / "function.py")
RUNNERS = ("lightning", "lightning_fabric", "pytorch_lightning", "hydra", "runpy")  # what calls gradlab, or is called


def users_line() -> str:
    """File and line of the innermost running code that is the user's: not PyTorch's, gradlab's, or that of a runner.

    Of an operation inside a custom Function it is the line that called ``apply``, since that tells one use of the
    Function from another. A module made of PyTorch's own layers alone has no such line in its forward: then it is the
    line that called it, or called gradlab. Empty where there is none at all, as in a run from the shell.
    """
    frame = _users_frame(sys._getframe(1))
    if frame is None:
        return ""
    frame = _caller_of_apply(frame) or frame
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _users_frame(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not _is_the_users(frame):
        frame = frame.f_back
    return frame


def _caller_of_apply(inside: FrameType) -> FrameType | None:
    """The user's frame that called the Function whose forward a frame runs in; None where it runs in none."""
    frame: FrameType | None = inside
    while frame is not None and not _is_gradlabs(frame):
        if frame.f_code.co_filename == APPLY and frame.f_code.co_name == "apply":
            caller = frame.f_back
            while caller is not None and not _is_the_users(caller) and not _is_gradlabs(caller):
                caller = caller.f_back
            return caller if caller is not None and _is_the_users(caller) else None
        frame = frame.f_back
    return None


def _is_gradlabs(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith(OWN) and not file.startswith(SHIPPED)


def _is_the_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file.startswith(OWN):
        return not _is_gradlabs(frame)
    return not file.startswith(TORCH) and str(frame.f_globals.get("__name__")).partition(".")[0] not in RUNNERS
