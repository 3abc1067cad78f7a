from __future__ import annotations

from pathlib import Path

import networkx
import numpy as np
import pytest
from shapely import LineString

from geoloc.errors import UsageError
from geoloc.points.lines import Lines, joined
from geoloc.points.networks import read_network


def graph(crs: str | None = "epsg:4326") -> networkx.MultiDiGraph:
    """As OSMnx writes them: attributes as text, both directions, shapes where they bend."""
    made = networkx.MultiDiGraph(**({} if crs is None else {"crs": crs}), simplified="True")
    for node, (x, y) in {1: (9.5, 47.1), 2: (9.51, 47.1), 3: (9.52, 47.12)}.items():
        made.add_node(node, x=str(x), y=str(y), street_count="1")
    bent = LineString([(9.51, 47.1), (9.515, 47.105), (9.52, 47.12)])
    made.add_edge(1, 2, osmid="21", highway="primary", length="758.1")
    made.add_edge(2, 1, osmid="21", highway="primary", length="758.1")
    common = {"osmid": "[22, 23]", "highway": "['residential', 'track']"}
    made.add_edge(2, 3, geometry=bent.wkt, **common)
    made.add_edge(3, 2, geometry=bent.reverse().wkt, **common)
    made.add_edge(3, 1, osmid="24", highway="footway")
    return made


def read(path: Path, network: str = "all") -> Lines:
    return joined(list(read_network(path, network)))


def test_streets_of_a_graph_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "net.graphml"
    networkx.write_graphml(graph(), path)
    found = read(path)
    assert found.way_id.tolist() == [21, -1, 24]
    assert found.highway.tolist() == ["primary", "residential", "footway"]
    assert np.array_equal(found.coordinates[:2], [(9.5, 47.1), (9.51, 47.1)])
    assert np.array_equal(found.coordinates[3], (9.515, 47.105))
    assert read(path, "drive").way_id.tolist() == [21, -1]


def test_a_graph_comes_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.graphml"
    networkx.write_graphml(graph(), path)
    whole = read(path)
    monkeypatch.setattr("geoloc.points.graphml._BYTES", 100)
    monkeypatch.setattr("geoloc.points.networks._BATCH", 1)
    parts = list(read_network(path, "all"))
    assert len(parts) > 3
    assert np.array_equal(joined(parts).coordinates, whole.coordinates)


def test_a_graph_in_metres_and_one_without_a_crs(tmp_path: Path) -> None:
    metres = graph("EPSG:32632")
    for _, values in metres.nodes(data=True):
        values["x"] = str(float(values["x"]) * 50_000)
        values["y"] = str(float(values["y"]) * 110_000)
    metres.remove_edges_from([(2, 3), (3, 2)])
    networkx.write_graphml(metres, tmp_path / "metres.graphml")
    (lon, lat) = read(tmp_path / "metres.graphml").coordinates[0]
    assert 8 < lon < 10 and 46 < lat < 48
    networkx.write_graphml(graph(None), tmp_path / "bare.graphml")
    assert len(read(tmp_path / "bare.graphml")) == 3
    text = (tmp_path / "bare.graphml").read_text().replace("9.5", "5009.5")
    (tmp_path / "bare.graphml").write_text(text)
    with pytest.raises(UsageError, match="coordinates off the globe"):
        read(tmp_path / "bare.graphml")


ENTITIES = """<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="directed">
<node id="&b;"/></graph></graphml>"""
OTHER_FILE = """<!DOCTYPE g [<!ENTITY x SYSTEM "file:///etc/passwd">]><graphml>&x;</graphml>"""


@pytest.mark.parametrize("text", [ENTITIES, OTHER_FILE])
def test_entities_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "net.graphml"
    path.write_text(text)
    with pytest.raises(UsageError, match="is XML with a document type"):
        read(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</graphml>", "", "is not GraphML"),
        (">9.51<", ">east<", "node 2 is at x east, y 47.1"),
        ('target="2"', 'target="99"', "an edge leads to node 99, which is not described before"),
        ("LINESTRING", "LINESTRIN", "cannot be read"),
        ("epsg:4326", "epsg:1", "cannot be read"),
    ],
)
def test_damaged_graphs_are_refused_in_one_line(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "net.graphml"
    networkx.write_graphml(graph(), path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UsageError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)
