"""``python -m geoloc`` is the command line."""

from .cli import main

main()
