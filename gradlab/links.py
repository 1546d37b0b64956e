"""The address that opens TensorBoard with the curves pinned that one looks at first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

FIRST_LOOK = ("loss/median", "loss/train", "total/norm_before_clipping")
PORT = 6006  # TensorBoard's own choice
GRADLAB_TAB = f"http://localhost:{PORT}/#gradlab"


def command(folder: Path) -> str:
    """What to type to open a run.

    Example:
        >>> command(Path("runs/my run"))
        "tensorboard --logdir 'runs/my run'"
    """
    return f"tensorboard --logdir {shlex.quote(str(folder))}"


def deep_link(tags: Iterable[str]) -> str:
    """TensorBoard's address with scalar cards pinned, and with smoothing off, which would hide spikes.

    Args:
        tags: the scalars that the run has; of each kind the first few are pinned.

    Example:
        >>> deep_link(["loss/train"])
        'http://localhost:6006/?pinnedCards=%5B%7B%22plugin%22%3A%22scalars%22%2C%22tag%22%3A%22loss%2Ftrain%22%7D%5D&smoothing=0#timeseries'
    """
    cards = [{"plugin": "scalars", "tag": tag} for tag in pinned(list(tags))]
    address = quote(json.dumps(cards, separators=(",", ":"), ensure_ascii=False), safe="")
    return f"http://localhost:{PORT}/?pinnedCards={address}&smoothing=0#timeseries"


def pinned(tags: list[str]) -> list[str]:
    """The tags worth a first look: loss, norm, the first and the last weight's gradient, the worst agreement.

    Example:
        >>> pinned(["loss/train", "gradient/0.weight/rms", "gradient/0.weight/l2", "gradient/2.weight/rms"])
        ['loss/train', 'gradient/0.weight/rms', 'gradient/2.weight/rms']
    """
    gradients = [tag for tag in tags if tag.startswith("gradient/") and tag.endswith("weight/rms")]
    agreements = [tag for tag in tags if tag.startswith("agreement/")]
    chosen = [tag for tag in FIRST_LOOK if tag in tags] + gradients[:1] + gradients[-1:] + agreements[:1]
    return list(dict.fromkeys(chosen))
