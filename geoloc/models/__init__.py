"""Models as files: directories that define how pixels become feature vectors.

``spec``       the schema of model.json
``model``      a checked model directory, its digest
``features``   what its vectors mean: names, distance, and the int8 code (``quantizer``)
``store``      the models of this machine, and those shipped with geoloc
``fetch``      models by URL, copied into the store
``transfer``   files of a remote folder, resumed; ``published``: weights that others published
``derived``    models with the vectors of another: more names, or another distance
``load``       a model by name, directory, URL or digest

Nothing here imports torch: the networks themselves are run by `geoloc.encoders`.
"""

from .features import Distance, FeatureSpace, Term
from .fetch import is_url
from .load import load_exact, load_model
from .model import Model, model_info
from .quantizer import MISSING, Quantizer, code_range_of
from .store import list_models, model_of_digest

__all__ = [
    "MISSING",
    "Distance",
    "FeatureSpace",
    "Model",
    "Quantizer",
    "Term",
    "code_range_of",
    "is_url",
    "list_models",
    "load_exact",
    "load_model",
    "model_info",
    "model_of_digest",
]
