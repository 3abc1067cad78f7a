"""What lies where in the folder of a bulk run."""

PROGRESS = "progress.sqlite"
"""What was read and answered: an interrupted run goes on from it."""

ITEMS, CLUSTERS = "items", "clusters"
"""Folders of answers to single pictures, and to several of one place."""
