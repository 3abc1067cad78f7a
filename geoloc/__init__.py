"""geoloc: where in a country a ground photo may have been taken, by overhead imagery."""

__version__ = "0.1.0"
