"""A scene without a photo, by those of an area's models that know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...area import Area
from ...errors import NotInstalledError, UnknownClassError, UsageError
from ..options import QueryOptions
from ..searcher import ModelSearcher, Searcher
from ..session import QuerySession
from ..target import Target, cube_model
from ..words import meaning
from .answering import TandemSearcher
from .members import assemble, opened, require_possible, require_same_places
from .notes import not_asked


def open_scene(area: Area, options: QueryOptions) -> Searcher:
    """What answers a scene class, or words, by those models of an area that know it.

    Each has names of its own and its own reading of words. A model that does not know what is
    asked for has no part in the answer, whose notes say so; where one alone knows it, the answer
    is that of this model. The area's bank is not read: distances to photos say nothing of a
    probability, which compares the scene with all others already.

    Raises UnknownClassError where none of them knows it; UsageError where those that do have no
    weight, for cubes of different places and for options that several models cannot have;
    CubeError, ModelError.
    """
    require_possible(options)
    asked = _Asked.of(area, options)
    _require_known(asked, str(options.scene))
    remarks = tuple(not_asked(name, why) for name, why in asked.unknown.items())
    targets = [replace(target, remarks=remarks) for target in asked.targets.values()]
    if len(targets) == 1:
        return ModelSearcher(QuerySession.of(targets[0], options), None)
    require_same_places([target.cube for target in targets])
    models = [cube_model(target) for target in targets]
    return TandemSearcher(
        assemble(
            targets, models, (), asked.weights, options,
            names=[*asked.targets], scenes=[*asked.scenes.values()],
        )
    )  # fmt: skip


@dataclass
class _Asked:
    """The models that know a scene: their cubes and what each calls it, by the models' names; and
    why the others do not know it."""

    targets: dict[str, Target] = field(default_factory=dict)
    scenes: dict[str, str] = field(default_factory=dict)
    weights: list[float] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, area: Area, options: QueryOptions) -> _Asked:
        asked = cls()
        for one, (name, part) in zip(area.models, area.named_parts.items(), strict=True):
            target = opened(part, options)
            try:
                asked.scenes[name], _ = meaning(target, str(options.scene))
            except (UsageError, NotInstalledError) as unknown:
                asked.unknown[name] = str(unknown)
            else:
                asked.targets[name] = target
                asked.weights.append(one.weight)
        return asked


def _require_known(asked: _Asked, scene: str) -> None:
    """Raise where no model knows a scene that counts."""
    if not asked.targets:
        raise UnknownClassError(f"no model of the area knows {scene!r}: {_reasons(asked.unknown)}")
    if not any(asked.weights):
        raise UsageError(
            f"of the area's models only {', '.join(asked.targets)} know {scene!r}, without weight: "
            "give the area file weights, or name one with --model"
        )


def _reasons(unknown: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in unknown.items())
