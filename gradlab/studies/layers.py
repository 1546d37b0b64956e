"""The layers of a fully connected network that a study ran."""

from __future__ import annotations

from torch import nn

from gradlab.errors import BadInput
from gradlab.models import Mlp
from gradlab.studies.base import Finished


def hidden_layers(run: Finished) -> dict[str, nn.Linear]:
    """The linear layers but the last one, by name, the one nearest to the input first.

    Raises:
        BadInput: the model is no ``Mlp``.
    """
    if not isinstance(run.model, Mlp):
        raise BadInput(f"{run.name}: this study looks at a fully connected network: choose model=mlp")
    *hidden, _ = ((name, layer) for name, layer in run.model.named_children() if isinstance(layer, nn.Linear))
    return dict(hidden)
