"""``train-overhead``: an overhead encoder of one's own, from pairs and a teacher."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from geoloc.errors import UsageError
from geoloc.training import Trained, TrainSpec, train_student

from .artifacts import progress, show_figures
from .running import run_name, say_why, stage


@flow(name="train-overhead", flow_run_name=run_name("spec"), on_failure=[say_why])
def train_overhead(spec: TrainSpec) -> str:
    """Train an overhead encoder on a teacher's vectors; called again, the training goes on.

    Args:
        spec: the training; pairs and out are absolute paths, teacher a model's name or folder

    Returns the folder of the model.
    """
    for name, path in {"pairs": spec.pairs, "out": spec.out}.items():
        if not path.is_absolute():
            raise UsageError(f"{name} {path}: give an absolute path, since runs work elsewhere")
    trained = train(spec)
    figures = {name: f"{value:.4g}" for name, value in (trained.test_json() or {}).items()}
    show_figures(figures, "training", f"Held-out pairs of {spec.name}")
    return str(Path(trained.path))


@stage("train", run_name="train {spec.name}")
def train(spec: TrainSpec) -> Trained:
    """See `geoloc.training.train_student`."""
    advance = progress(f"Epochs of {spec.name}")
    trained = train_student(spec, lambda epoch: advance(epoch.number, epoch.of))
    get_run_logger().info("model in %s; held-out pairs: %s", trained.path, trained.figures)
    return trained
