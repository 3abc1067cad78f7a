"""Prefect flows: the library's functions as scheduled, watched and repeatable work.

``refresh_cubes``     build or continue cubes, on a schedule
``query_photo``       photos against cubes            ``search_scene``   a scene class
``geolocate_folder``  a folder of photos              ``evaluate``       photos of known places
``sample_points``     points along roads              ``build_points``   a cube of them
``zoom``              from an answer down to cells
``train_overhead``    an overhead encoder of one's own

``parameters`` says what the forms take, ``running`` how runs are named, fail and wait for each
other, ``fetching`` brings photos from the web, ``artifacts`` is what people see of a run.
Prefect is imported here alone: the library and its command line do without.
"""

from geoloc.extras import extra

with extra("flows", "this flow"):
    import httpx as httpx
    import prefect as prefect
