"""What a lab watches where nobody says."""

from __future__ import annotations

from gradlab.probes import AgreementProbe, ChainRuleProbe, GradientProbe, GraphProbe, PartialsProbe, Probe
from gradlab.schedules import at, either, every


def default_probes() -> dict[str, Probe]:
    """Gradients at every step, partials at every 50th; the chain rule, agreement and pictures at 0, 100, 1000, 2000, …

    A step that is recorded in detail costs as much as several plain ones, and what it shows changes most at first. At
    these schedules all of it together stays within about a quarter of a small network's training time, and a tenth of a
    large one's (``tests/benchmarks/recording.py``).

    Example:
        >>> list(default_probes())
        ['gradients', 'partials', 'graph', 'chain', 'agreement']
    """
    in_detail = either(at([100]), every(1000))
    return {
        "gradients": GradientProbe(),
        "partials": PartialsProbe(schedule=every(50), matrices=in_detail),
        "graph": GraphProbe(schedule=in_detail),  # before the chain, which takes over its numbers
        "chain": ChainRuleProbe(schedule=in_detail, tables=in_detail),
        "agreement": AgreementProbe(schedule=in_detail),
    }
