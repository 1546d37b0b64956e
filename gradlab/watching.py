"""`watch`: the lab in a training loop of the user's own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from gradlab.defaults import default_probes
from gradlab.lab import GradientLab
from gradlab.links import command, deep_link
from gradlab.probes import Probe
from gradlab.sinks import Sink
from gradlab.updates import Updates, scale_of, unscales_by_itself


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    logdir: str | os.PathLike[str] = "runs/gradlab",
    *,
    probes: Mapping[str, Probe] | None = None,
    scaler: Any = None,
    sinks: Iterable[Sink] = (),
    lines: bool = False,
    flush_secs: float = 10.0,
) -> Watcher:
    """Watches the gradients of a training loop: ``with lab.step():`` around each step, ``lab.close()`` at the end.

    Args:
        model: the module whose parameters are watched.
        optimizer: the one that updates them, or several.
        logdir: the folder that TensorBoard and `gradlab.load` read.
        probes: what to measure, by name; None means what `GradientLabCallback` measures by default.
        scaler: the ``torch.amp.GradScaler``, where there is one: gradients are recorded at the optimizer's scale.
        sinks: further places where records go; whoever gives them closes them.
        lines: whether a disagreement names the line of code that ran the operation to blame.
        flush_secs: the longest time, in seconds, for which a record may be lost when the process is killed.

    Raises:
        OSError: the folder cannot be made.

    Example:
        >>> import tempfile
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder, watch(model, optimizer, folder) as lab:
        ...     for _ in range(3):
        ...         with lab.step():
        ...             optimizer.zero_grad()
        ...             model(torch.ones(4, 2)).mean().backward()
        ...             optimizer.step()
        gradlab: 2 of 2 parameters have a gradient; autograd and the handwritten rules agree (worst ...
        gradlab: tensorboard --logdir ...
        >>> lab.updates
        3
    """
    from gradlab.sinks.tensorboard import TensorBoardSink  # slow to import

    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    own = TensorBoardSink(logdir, flush_secs)
    probes = default_probes() if probes is None else probes
    lab = GradientLab(model, probes, [own, *sinks], lines, strict=False, flush_secs=flush_secs)
    return Watcher(lab, optimizers, own, Path(logdir), scaler)


class Watcher:
    """What `watch` returns.

    Attributes:
        lab: the lab that measures; ``lab.tally`` counts what was compared.
        updates: the optimizer steps seen so far.
    """

    def __init__(
        self, lab: GradientLab, optimizers: Sequence[Optimizer], sink: Sink, folder: Path, scaler: Any = None
    ) -> None:
        self.lab = lab
        self.updates = 0
        self._optimizers = optimizers
        self._sink = sink
        self._folder = folder
        self._scaler = scaler
        self._batch = Updates()
        self._closure_of: Optimizer | None = None  # an optimizer that is calling the loss itself, as LBFGS does
        self._pause: Any = None
        self._handles = [o.register_step_pre_hook(self._before_update) for o in optimizers]
        self._handles += [o.register_step_post_hook(self._after_update) for o in optimizers]
        self._is_open = self._is_warned = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one step of the loop: forward, backward, update. An accumulated step may be one block or several."""
        if self._is_open:
            raise RuntimeError("a step is open already: close its `with lab.step()` block before the next one")
        self._is_open = True
        self._batch.begin_batch(self.updates)
        self.lab.begin_step(self.updates, self._batch.batch)
        try:
            with _Backwards(self):
                yield
            self._notice_skipped()
            self.lab.end_step()
        except BaseException:
            self.lab.abandon_step()
            raise
        finally:
            self._is_open = False
            self._resume()

    def close(self) -> None:
        """Writes what is left, and lets go of the optimizers; a second time does nothing."""
        for handle in self._handles:
            handle.remove()
        if self._handles:
            self._handles = []
            self.lab.close()
            self._sink.close()
            print(f"gradlab: {self.lab.summary()}")
            print(f"gradlab: {command(self._folder)} then {deep_link(self.lab.tags)}")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- what the hooks call ---------------------------------------------------------------------------------

    def backward(self, loss: Tensor, run: Any) -> Any:
        """One backward pass, seen from both sides."""
        self.lab.before_backward(loss)
        result = run()
        self.lab.after_backward(loss, self._scale(loss.device), keep=True)
        if self._closure_of is not None:
            self._report(self._closure_of)
            self.lab.begin_step(self.updates, self._batch.batch)
        return result

    def _before_update(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        if not self._is_open:
            return
        if any(map(callable, args[1:])) or kwargs.get("closure") is not None:
            self._closure_of = optimizer
            return
        self._report(optimizer)
        self.lab.stop_recording()
        # The update's many small operations are nobody's backward pass: spare them the look.
        self._pause = torch._C.DisableTorchFunction()
        self._pause.__enter__()

    def _after_update(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        self._closure_of = None
        self._resume()
        if self._is_open:
            self.updates += 1
            self._batch.count += 1
            self.lab.begin_step(self.updates, self._batch.batch)

    def _report(self, optimizer: Optimizer) -> None:
        if not self.lab.awaits_update and not self._is_warned and self._closure_of is None:
            self._is_warned = True
            warnings.warn(
                "gradlab: an optimizer was called, and no backward pass was seen before: call loss.backward() inside "
                "the `with lab.step()` block (torch.autograd.backward and torch.autograd.grad are not seen)",
                stacklevel=4,
            )
        label, only = self._batch.of(optimizer, self._optimizers)
        scale = self._scale(None) if unscales_by_itself(optimizer) else None
        self.lab.before_update((group["lr"] for group in optimizer.param_groups), label, only, scale)

    def _notice_skipped(self) -> None:
        """A scaler does not call the optimizer when a gradient is not finite: the step is recorded all the same."""
        if self._scaler is not None and self.lab.awaits_update and not self.lab.is_finite:
            self._report(self._optimizers[0])
            self.updates += 1

    def _scale(self, device: torch.device | None) -> Tensor | None:
        if self._scaler is None:
            return None
        parameter = self._optimizers[0].param_groups[0]["params"][0]
        return scale_of(self._scaler, device or parameter.device)

    def _resume(self) -> None:
        if self._pause is not None:
            self._pause.__exit__(None, None, None)
            self._pause = None


class _Backwards(TorchFunctionMode):
    """Sees each call of ``Tensor.backward``, and lets everything else pass."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.backward:
            return self._watcher.backward(args[0], lambda: func(*args, **(kwargs or {})))
        return func(*args, **kwargs) if kwargs else func(*args)
