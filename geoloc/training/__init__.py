"""Training: a student overhead network that predicts a teacher's vectors of ground photos.

``train``      ``geoloc train``: from pairs and a teacher to a model directory
``spec``       its fields; ``recipes``: sets of them, by name
``preparing``  what is there before the first step; ``dry``: a training tried on a few pairs
``material``   pairs, and the teacher's vectors of their photos, of which several views may be
               shown (``photo_views``)
``data``       pairs as arrays; ``hard``: batches of photos that are alike
``augment``    windows of chips as the network may encounter them; ``study``: as the study cut them
``student``    what is trained: ``learners`` whole, ``frozen`` a head; ``initial``: their weights
``losses``     distances between vectors, and the losses made of them; ``retrieval``: figures
``loop``       the one training loop: checkpoints, resume, ``logs``
``engine``     what the loop runs on: one process, or the devices of a ``machine``, by
               ``processes`` that share the work (``worker``, ``batchnorm``)
``writing``    the model directory, with its ``card``
``crossview``  both encoders trained jointly on places (the sandbox model)
``landuse``    ``geoloc models make``: from class folders (``class_images``) by way of the trunks
               (``landuse_features``) to heads of one space (``shared_space``)
``extending``  ``geoloc models extend``: further names for the vectors of a model
"""

from .spec import TrainSpec
from .train import Trained, train_student

__all__ = ["TrainSpec", "Trained", "train_student"]
