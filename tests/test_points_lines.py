from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoloc.points.lengths import edge_lengths
from geoloc.points.lines import Lines, joined, split_at_antimeridian
from tests.road_files import lines_of

PLACES = st.lists(st.tuples(st.floats(-179, 179), st.floats(-80, 80)), min_size=2, max_size=5)


def test_edges_are_all_nodes_but_the_last_of_each_line() -> None:
    lines = lines_of([(0, 0), (1, 1), (2, 0)], [(5, 5), (6, 6)])
    assert lines.edges().tolist() == [0, 1, 3]
    assert lines.line_of_node.tolist() == [0, 0, 0, 1, 1]


def test_lines_are_selected_and_joined_again() -> None:
    lines = lines_of([(0, 0), (1, 1), (2, 0)], [(5, 5), (6, 6)], [(7, 7), (8, 8), (9, 9)])
    some = lines.select(np.array([True, False, True]))
    assert some.way_id.tolist() == [1, 3] and some.offsets.tolist() == [0, 3, 6]
    assert some.coordinates[3].tolist() == [7, 7]
    rest = lines.select(np.array([False, True, False]))
    both = joined([some, rest])
    assert both.way_id.tolist() == [1, 3, 2] and both.offsets.tolist() == [0, 3, 6, 8]
    assert both.coordinates[6:].tolist() == [[5, 5], [6, 6]]


def test_lines_are_made_of_nodes_that_name_theirs() -> None:
    lines = Lines.of([[0, 0], [1, 1], [2, 2], [3, 3]], [0, 0, 1, 1], [7, 8], ["a", "bc"])
    assert lines.offsets.tolist() == [0, 2, 4]
    assert len(Lines.of([], [], [], [])) == 0


def test_a_line_across_the_antimeridian_ends_there_and_goes_on_beyond() -> None:
    lines = lines_of([(0, 0), (1, 1)], [(179, 10), (-178, 13), (-177, 13)], [(2, 2), (3, 3)])
    split = split_at_antimeridian(lines)
    assert split.way_id.tolist() == [1, 2, 2, 3]
    assert split.offsets.tolist() == [0, 2, 4, 7, 9]
    assert np.allclose(
        split.coordinates[2:7], [(179, 10), (180, 11), (-180, 11), (-178, 13), (-177, 13)]
    )
    westwards = split_at_antimeridian(lines_of([(-178, 13), (179, 10)]))
    assert np.allclose(westwards.coordinates, [(-178, 13), (-180, 11), (180, 11), (179, 10)])


@given(st.lists(PLACES, min_size=1, max_size=4))
def test_no_edge_crosses_the_antimeridian_afterwards(
    places: list[list[tuple[float, float]]],
) -> None:
    lines = lines_of(*places)
    split = split_at_antimeridian(lines)
    first = split.edges()
    assert (np.abs(np.diff(split.coordinates[:, 0])[first]) <= 180).all()
    crossings = int((np.abs(np.diff(lines.coordinates[:, 0])[lines.edges()]) > 180).sum())
    assert len(split) == len(lines) + crossings
    assert set(split.way_id) == set(lines.way_id)
    # in degrees a crossing is straight, on the ellipsoid it is not quite
    assert edge_lengths(split).sum() >= edge_lengths(lines).sum() * (1 - 1e-9)
