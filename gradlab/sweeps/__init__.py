"""Many jobs from one command: how they are started, resumed, and answered together."""
