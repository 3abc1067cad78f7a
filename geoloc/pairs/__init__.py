"""Pairs of a ground photo and an overhead image of the same place, or of the same class.

``file``        the pairs file: what is read and written; of any ``table``
``classes``     class-level pairs of folders of images, one folder a class
``published``   CVUSA, WITW and GTCrossView: which image belongs to which photo; ``importing`` takes
                them over from a folder or from tar archives (``trees``)
``building``    geotagged photos (``tagged``) and an area: chips are cut (``cutting``)
``splitting``   train, valid and test by blocks of ground
``checking``    what is wrong with pairs; ``mapping`` draws where they are
``shards``      pairs with their images in tar archives, streamed; ``sharding`` writes them
``stored``      pairs of a file or of shards, whose images are read when they are needed
"""

from .classes import class_images, pair_classes, read_class_mapping
from .file import Pair, Split, read_pairs, write_pairs

__all__ = [
    "Pair",
    "Split",
    "class_images",
    "pair_classes",
    "read_class_mapping",
    "read_pairs",
    "write_pairs",
]
