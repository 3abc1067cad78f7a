"""Road networks in GraphML, as OSMnx writes them: nodes with x and y, edges with WKT or none.

Read as a stream by expat. A document type is refused: entities, which may expand without end or
name other files, can only come from there. A graph without a CRS is taken to be in degrees, which
its coordinates have to bear out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

if TYPE_CHECKING:
    from shapely import Geometry

Columns = dict[str, list[Any]]
Part = tuple[NDArray[np.object_], str, Columns]

_BYTES = 1 << 20  # read at a time
_KEPT = ("osmid", "highway", "railway")


def read_graphml(path: Path, batch: int) -> Iterator[Part]:
    """Edges in parts of ``batch``: shapes, the CRS that the graph names, text by column.

    Raises UsageError for what is no GraphML, has a document type, or an edge without a place.
    """
    graph = _Graph(path)
    try:
        with path.open("rb") as file:
            while content := file.read(_BYTES):
                graph.parser.Parse(content)
                while len(graph.shapes) >= batch:
                    yield graph.take(batch)
            graph.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise UsageError(f"roads {path} is not GraphML: {error}") from None
    yield graph.take(len(graph.shapes))


@dataclass
class _Graph:
    """What the elements so far have said."""

    path: Path
    parser: Any = None
    names: dict[str, str] = field(default_factory=dict)
    crs: str = "EPSG:4326"
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    shapes: list[str | Geometry] = field(default_factory=list)
    columns: Columns = field(default_factory=lambda: {name: [] for name in _KEPT})
    element: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    reading: str | None = None
    pieces: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        self.parser = parser

    def take(self, count: int) -> Part:
        """The first edges, which are forgotten here."""
        import shapely

        shapes = [
            shapely.from_wkt(shape) if isinstance(shape, str) else shape
            for shape in self.shapes[:count]
        ]
        columns = {name: values[:count] for name, values in self.columns.items() if any(values)}
        self.shapes = self.shapes[count:]
        self.columns = {name: values[count:] for name, values in self.columns.items()}
        array = np.empty(len(shapes), np.object_)
        array[:] = shapes
        return array, self.crs, columns

    def _refuse(self, *_: Any) -> None:
        raise UsageError(f"roads {self.path} is not opened: it is XML with a document type")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag.rpartition(" ")[2]:
            case "key":
                self.names[attributes.get("id", "")] = attributes.get("attr.name", "")
            case "node" | "edge":
                self.element, self.values = attributes, {}
            case "data":
                self.reading = self.names.get(attributes.get("key", ""), "")
                self.pieces = []

    def _text(self, text: str) -> None:
        if self.reading is not None:
            self.pieces.append(text)

    def _end(self, tag: str) -> None:
        match tag.rpartition(" ")[2]:
            case "data" if self.reading is not None:
                self.values[self.reading], self.reading = "".join(self.pieces).strip(), None
                if not self.element:  # of the graph itself
                    self.crs = self.values.get("crs") or self.crs
            case "node":
                self._node()
                self.element = {}
            case "edge":
                self._edge()
                self.element = {}

    def _node(self) -> None:
        x, y = (self.values.get(name, "nan") for name in ("x", "y"))
        try:
            self.places[self.element.get("id", "")] = float(x), float(y)
        except ValueError:
            raise self._wrong(
                f"node {self.element.get('id')} is at x {x[:40]}, y {y[:40]}"
            ) from None

    def _edge(self) -> None:
        self.shapes.append(self.values.get("geometry") or self._straight())
        for name, values in self.columns.items():
            values.append(self.values.get(name))

    def _straight(self) -> Geometry:
        import shapely

        ends = [self.element.get(end, "") for end in ("source", "target")]
        missing = next((end for end in ends if end not in self.places), None)
        if missing is not None:
            raise self._wrong(
                f"an edge leads to node {missing[:40]}, which is not described before"
            )
        return shapely.LineString([self.places[end] for end in ends])

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"roads {self.path}: {what}: write it with osmnx.save_graphml")
