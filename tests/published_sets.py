"""Miniatures of CVUSA, WITW and GTCrossView, laid out by the rules that their authors published.

The rules are written here a second time, from what the sets' own readers do, not by way of the
code under test.
"""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

from .pair_files import picture

PLACES = ((39.353314, -100.441957), (43.533763, -89.290620), (-33.857001, 151.215100))


def save(path: Path, seed: int, width: int = 48, height: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(seed, width, height)
    if path.suffix == ".png":
        image.save(path)
    else:
        image.save(path, "JPEG", quality=92)
    return path


def aerial(root: Path, kind: str, zoom: int, lat: float, lon: float) -> Path:
    """Where CVUSA has the image of a place: bins of whole degrees, cut towards zero."""
    return root / f"{kind}_aerial/{zoom}/{int(lat)}/{int(lon)}/{lat:.6f}_{lon:.6f}.jpg"


def write_cvusa(root: Path) -> dict[str, str]:
    """The full set with its lists: the image of zoom 18 by photo, both below ``root``."""
    partners: dict[str, str] = {}
    flickr, streetview = [], []
    for n, (lat, lon) in enumerate(PLACES):
        bins = f"{int(lat)}/{int(lon)}"
        name = f"flickr/{bins}/3760309{n}@N02_38320375{n}_{lat:.6f}_{lon:.6f}.jpg"
        save(root / name, n)
        flickr.append(name)
        partners[name] = str(aerial(root, "flickr", 18, lat, lon).relative_to(root))
        lat = lat + 0.5
        for heading in (90, 270):
            name = f"streetview/cutouts/{int(lat)}/{int(lon)}/{lat:.6f}_{lon:.6f}_{heading}.jpg"
            save(root / name, 100 + 2 * n + heading)
            streetview.append(name)
            partners[name] = str(aerial(root, "streetview", 18, lat, lon).relative_to(root))
    for place, (lat, lon) in enumerate(PLACES):
        for zoom in (14, 16, 18):
            save(aerial(root, "flickr", zoom, lat, lon), 1000 + 10 * zoom + place)
            save(aerial(root, "streetview", zoom, lat + 0.5, lon), 2000 + 10 * zoom + place)
    (root / "flickr_images.txt").write_text("\n".join(flickr) + "\n")
    (root / "streetview_images.txt").write_text("\n".join(streetview) + "\n")
    return partners


def write_cvusa_subset(root: Path) -> dict[str, tuple[str, str]]:
    """The cropped subset: image and list by photo."""
    found = {}
    for n, name in enumerate(("train", "train", "train", "val")):
        one = f"{41073 + n:07d}"
        over, photo = f"bingmap/19/{one}.jpg", f"streetview/panos/{one}.jpg"
        save(root / over, 3000 + n)
        save(root / photo, 3100 + n, 96, 24)
        found[photo] = (over, name)
        path = root / "splits" / f"{name}-19zl.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="") as file:
            csv.writer(file).writerow([over, photo, f"streetview/annotations/{one}.png"])
    return found


def write_witw(root: Path) -> dict[str, tuple[str, str]]:
    """Image and split by photo: a city is held out, in a table with many columns, all quoted."""
    found = {}
    head = ["id", "author", "surface_license_code", "lat", "lon", "surface_url", "aoi", "aoi_name",
            "surface_path", "overhead_path"]  # fmt: skip
    cities = (("train", 2, "Las Vegas", 36.17, -115.14), ("test", 3, "Paris", 48.857, 2.351))
    for split, aoi, city, lat, lon in cities:
        with (root / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
            writer.writerow(head)
            for n in range(3):
                one = f"{100 * aoi + n}"
                photo, over = f"surface/{one}.jpg", f"overhead/{one}.jpg"
                save(root / photo, 4000 + 10 * aoi + n)
                save(root / over, 4500 + 10 * aoi + n)
                url = f"https://example.org/{one}.jpg"
                row = [one, "somebody, else", 4, lat + 0.01 * n, lon, url, aoi, city, photo, over]
                writer.writerow(row)
                found[photo] = (over, split)
    return found


def write_gtcrossview(root: Path) -> dict[str, tuple[str, str]]:
    """Image and split by photo: folders of cities, of which three are tested on."""
    found = {}
    for c, (city, split) in enumerate((("atlanta", "train"), ("Denver", "test"))):
        for n in range(2):
            photo, over = f"{city}/{n:05d}_streetview.jpg", f"{city}/{n:05d}_overhead.jpg"
            save(root / photo, 5000 + 10 * c + n)
            save(root / over, 5500 + 10 * c + n)
            found[photo] = (over, split)
    return found


def as_tars(root: Path, out: Path) -> list[Path]:
    """Each folder of a tree as an archive, and one of its lists, as the sets are handed out."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        made.append(out / f"{folder.name}.tar")
        with tarfile.open(made[-1], "w") as archive:
            archive.add(folder, f"./{folder.name}")
    made.append(out / "metadata.tar")
    with tarfile.open(made[-1], "w") as archive:
        for file in sorted(path for path in root.iterdir() if path.is_file()):
            archive.add(file, file.name)
    return made
