"""Training: a student overhead network that predicts a teacher's vectors of ground photos.

``losses``     distances between vectors, and the losses made of them
``augment``    chips as the network may encounter them
``loop``       the one training loop: checkpoints, resume, metrics
``data``       pairs as arrays; ``student`` the task; ``learners`` the two kinds of student
``train``      ``geoloc train``: from a pairs file and a teacher to a model directory
``crossview``  both encoders trained jointly on places (the sandbox model)
``landuse``    ``geoloc models make``: from class folders (``class_images``) by way of the trunks
               (``landuse_features``) to heads of one space (``shared_space``)
"""

from .train import Trained, TrainSpec, train_student

__all__ = ["TrainSpec", "Trained", "train_student"]
