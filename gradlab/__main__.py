"""``python -m gradlab experiment=NAME [group=option] [key=value]``, and ``-m`` for sweeps."""

from __future__ import annotations

import sys

from gradlab.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
