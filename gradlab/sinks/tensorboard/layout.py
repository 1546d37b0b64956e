"""How the Custom Scalars tab is arranged: the first look at a run, from its loss down to single layers.

The tab collects curves by patterns of tags, so one arrangement serves every model.
"""

# Protobuf builds its message classes when it is imported, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent

TAG, PLUGIN = "custom_scalars__config__", "custom_scalars"

ARRANGEMENT = {
    "1. Does it learn?": {
        "loss": r"^loss/",
        "learning rate": r"^learning_rate/",
        "gradient norm before and after clipping": r"^total/.*norm_",
        "clip coefficient (1: not clipped)": r"^total/.*clip_coefficient$",
        "cosine with the gradient before (−1: turned)": r"^total/.*cosine$",
    },
    "2. Does the gradient reach every layer?": {
        "RMS of the gradient of each weight": r"^gradient/.*weight.*/rms$",
        "RMS of the gradient of everything else": r"^gradient/(?!.*weight).*/rms$",
        "fraction of exact zeros": r"^gradient/.*/zeros$",
        "fraction of NaN and infinities": r"^gradient/.*/nonfinite$",
    },
    "3. Do the weights move? (a rule of thumb: 0.001 of their length a step)": {
        "update-to-weight ratio": r"^update/.*/ratio$",
        "cosine with the step before, by parameter": r"^gradient/.*/cosine$",
    },
    "4. The chain rule: upstream × gain = downstream": {
        "gain of each module (below 1: shrinks)": r"^chain/.*/gain$",
        "upstream gradient of each module": r"^chain/.*/upstream$",
    },
    "5. Do autograd and the handwritten rules agree?": {
        "log10 of the error (−7: seven digits agree)": r"^agreement/.*/log10_error$",
    },
    "6. Partial derivatives, one by one": {
        "∂L/∂θ": r"^partial/",
    },
}


def layout() -> bytes:
    """The arrangement as the message that the tab reads.

    Example:
        >>> Layout.FromString(layout()).category[0].chart[0].title
        'loss'
    """
    return Layout(
        category=[
            Category(title=title, chart=[_chart(name, pattern) for name, pattern in charts.items()])
            for title, charts in ARRANGEMENT.items()
        ]
    ).SerializeToString()


def _chart(title: str, pattern: str) -> Chart:
    return Chart(title=title, multiline=MultilineChartContent(tag=[pattern]))
