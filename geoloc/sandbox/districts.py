"""Dimensions shared by the ground, the buildings and the road list of a district.

Streets inside a plot run along the ``u`` axis of its cluster's frame, every ``row`` metres, and
across it every ``cross`` metres (0: none); so the streets of neighbouring plots of one cluster
meet.
"""

from __future__ import annotations

import numpy as np

from .scene import LANDUSE

CLASS = {name: number for number, name in enumerate(LANDUSE)}
CULTIVATED = CLASS["field-cultivated"]
WHEAT = CLASS["wheat_field"]
PASTURE = CLASS["pasture"]
FOREST = CLASS["forest-broadleaf"]
LAKE = CLASS["lake-natural"]
RIVER_CLASS = CLASS["river"]
PARK = CLASS["park"]
HOUSES = CLASS["residential_neighborhood"]
ESTATE = CLASS["apartment_building-outdoor"]
INDUSTRY = CLASS["industrial_area"]
SCHOOL = CLASS["schoolhouse"]
STADIUM = CLASS["stadium-soccer"]
ATHLETIC = CLASS["athletic_field-outdoor"]
RAILWAY = CLASS["railroad_track"]
HIGHWAY = CLASS["highway"]
BRIDGE = CLASS["bridge"]
VILLAGE = CLASS["village"]
PARKING = CLASS["parking_lot"]
DOWNTOWN = CLASS["downtown"]
CEMETERY = CLASS["cemetery"]

# half width of a street, metres between rows, metres between cross streets
STREETS = np.zeros((len(LANDUSE), 3))
STREETS[HOUSES] = 3.0, 74.0, 232.0
STREETS[VILLAGE] = 2.6, 176.0, 0.0
STREETS[DOWNTOWN] = 5.0, 84.0, 108.0
STREETS[ESTATE] = 2.8, 88.0, 190.0
STREETS[INDUSTRY] = 4.0, 118.0, 164.0

HOUSE_LOT = 19.5
"""Width of a town house's lot along its street, m."""
VILLAGE_LOT = 23.0
"""Width of a village lot along its street, m."""
STADIUM_PITCH = (52.5, 34.0)
"""Half length and half width of a soccer pitch, m."""
SCHOOL_PITCH = (24.0, 12.5)
STAND = (88.0, 68.0)
"""Outer half axes of a stadium's oval of stands, m."""
STAND_INNER = 0.80
"""Inner half axes of the stands, as a share of the outer ones."""
BAY = (2.6, 5.2)
"""Width and depth of a parking bay, m."""
PARKING_PERIOD = 17.0
"""Metres from one double row of parking bays to the next."""
TRACKS = 5.0
"""Metres between the tracks of a rail yard."""
YARD = 150.0
"""Metres from the middle of one band of yard tracks to the next."""
YARD_HALF = 60.0
GRAVE = (2.6, 3.4)
"""Spacing of graves along and across their rows, m."""
