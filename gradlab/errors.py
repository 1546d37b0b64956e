"""How a run can end, and the one error for whatever a user can mend."""

EXIT_CODES = {
    "agree": 0,
    "not compared": 0,
    "diverged as expected": 0,
    "error": 1,
    "bad input": 2,
    "disagree": 3,
    "non-finite": 4,
    "interrupted": 130,
}


class BadInput(ValueError):
    """A setting, a combination of settings, or a user's own part that cannot work: what, why, the valid options."""
