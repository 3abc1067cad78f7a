"""Pairs of a ground photo and an overhead image of the same place, or of the same class.

``file``      the pairs file, a CSV: what is read and written
``classes``   class-level pairs of folders of images, one folder a class
"""

from .classes import class_images, pair_classes, read_class_mapping
from .file import COLUMNS, Pair, Split, read_pairs, write_pairs

__all__ = [
    "COLUMNS",
    "Pair",
    "Split",
    "class_images",
    "pair_classes",
    "read_class_mapping",
    "read_pairs",
    "write_pairs",
]
