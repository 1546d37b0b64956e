"""The one error for whatever a user can mend: what is wrong, why, what to do, and the valid options."""


class BadInput(ValueError):
    """A setting, a combination of settings, or a part of the user's own that cannot work."""
