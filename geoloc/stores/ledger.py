"""Ledgers: arrays with an entry for each chunk of a domain, changed often and written whole.

An array of a ledger is stored in pieces. A piece is changed in memory and then replaced, so that
marking one chunk costs one small object, whatever the size of the domain. Only one process at a
time may change a ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import zarr

PIECE = 32
"""Chunks along each dimension of a piece: 1 KiB of states; a country of 400,000 blocks is read
in 400 of them."""


class LedgerArray:
    """One array of a ledger, shape ``(chunk grid…, …)``, its pieces read as they are needed.

    ``values``: all of it, where it is in memory already; it is changed along with the store.
    """

    def __init__(self, array: zarr.Array[Any], values: NDArray[Any] | None = None) -> None:
        self._array, self._values = array, values
        self._pieces: dict[tuple[int, ...], NDArray[Any]] = {}

    def change(self, places: NDArray[np.intp], values: ArrayLike) -> None:
        """Set the entries of chunks ``(n, dimension)`` to ``values`` ``(n, …)``, or all to one.

        Each piece is written once.
        """
        entries = np.broadcast_to(values, (len(places), *self._array.shape[places.shape[1] :]))
        corners = places - places % self._array.chunks[: places.shape[1]]
        for corner in np.unique(corners, axis=0):
            here = (corners == corner).all(axis=1)
            ends = corner + self._array.chunks[: len(corner)]
            area = tuple(map(slice, corner.tolist(), ends.tolist()))
            piece = self._piece(tuple(corner.tolist()), area)
            piece[tuple((places[here] - corner).T)] = entries[here]
            self._array[area] = piece

    def read(self) -> NDArray[Any]:
        """All of it, as it is on the store."""
        return np.asarray(self._array[:])

    def _piece(self, corner: tuple[int, ...], area: tuple[slice, ...]) -> NDArray[Any]:
        if self._values is not None:
            return self._values[area]
        if corner not in self._pieces:
            self._pieces[corner] = np.asarray(self._array[area])
        return self._pieces[corner]
