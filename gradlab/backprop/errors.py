"""What can keep the handwritten sweep from an answer. It raises; it never returns a wrong number instead."""


class TapeError(RuntimeError):
    """The tape was used in a way that it cannot follow."""


class MissingRuleError(TapeError, NotImplementedError):
    """A gradient reached an operation for which no handwritten rule exists."""
