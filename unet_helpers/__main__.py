"""`python -m unet_helpers …`: the command line, see cli.py."""

import sys

from .cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console may lack a × or an …
            stream.reconfigure(errors="replace")
    sys.exit(main())
