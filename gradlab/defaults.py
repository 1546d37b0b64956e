"""What a lab watches where nobody says."""

from __future__ import annotations

from gradlab.probes import AgreementProbe, ChainRuleProbe, GradientProbe, PartialsProbe, Probe
from gradlab.schedules import every


def default_probes() -> dict[str, Probe]:
    """Gradients at every step, partials at every 50th, the chain rule and agreement at every 100th.

    A reconciled step costs two to three plain ones, so that at these schedules all of it together stays within a
    quarter of a small network's training time, and a tenth of a large one's (``tests/benchmarks/recording.py``).

    Example:
        >>> list(default_probes())
        ['gradients', 'partials', 'chain', 'agreement']
    """
    return {
        "gradients": GradientProbe(),
        "partials": PartialsProbe(schedule=every(50)),
        "chain": ChainRuleProbe(schedule=every(100)),
        "agreement": AgreementProbe(schedule=every(100)),
    }
