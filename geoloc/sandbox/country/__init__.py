"""A synthetic country: the same plots, lines and objects as a world, planned at large.

The country is never on disk as pixels: any window of it can be rendered at any time.
"""
