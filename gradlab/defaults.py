"""What a lab watches where nobody says."""

from __future__ import annotations

from gradlab.probes import AgreementProbe, ChainRuleProbe, GradientProbe, PartialsProbe, Probe
from gradlab.schedules import every


def default_probes() -> dict[str, Probe]:
    """Gradients at every step, agreement and partials at every tenth, the chain rule at every 100th.

    Example:
        >>> list(default_probes())
        ['gradients', 'partials', 'chain', 'agreement']
    """
    return {
        "gradients": GradientProbe(),
        "partials": PartialsProbe(schedule=every(10)),
        "chain": ChainRuleProbe(schedule=every(100)),
        "agreement": AgreementProbe(schedule=every(10)),
    }
