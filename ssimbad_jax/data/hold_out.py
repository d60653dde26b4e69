"""Setting pictures of the training split aside, for validation."""

import numpy as np

from ssimbad_jax.data import pipeline


class Subset:
    """Some records of a source, as a source."""

    def __init__(self, source: pipeline.Source, indices: np.ndarray):
        """Keeps the records `indices` (int `[N]`) of `source`, in this order."""
        self._source, self._indices = source, np.asarray(indices)
        self.split, self.size = source.split, source.size
        self.has_sketches, self.fingerprint = source.has_sketches, source.fingerprint

    def __len__(self) -> int:
        """Returns the number of records."""
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Reads record `index`; its own number is that in the whole source."""
        return self._source[int(self._indices[index])]

    def __repr__(self) -> str:
        """Names the data."""
        return f"Subset({self._source!r}, {len(self)})"


def validation_count(asked: int, total: int) -> int:
    """Returns how many of `total` pictures are set aside: as asked, but at most a tenth, or one."""
    return min(asked, max(1, total // 10))


def hold_out(source: pipeline.Source, count: int, seed: int) -> tuple[Subset, Subset]:
    """Splits a source at random.

    Args:
        source: the training split.
        count: pictures to set aside.
        seed: which pictures; the same seed sets the same ones aside.

    Returns:
        What remains, and what is set aside, both in the source's order.

    Raises:
        ValueError: nothing would remain to train on.
    """
    if not 0 < count < len(source):
        raise ValueError(
            f"{count} of {len(source)} pictures cannot be held out for validation; set "
            "train.validation_images to a smaller number, or add pictures"
        )
    order = np.random.default_rng(seed).permutation(len(source))
    return Subset(source, np.sort(order[count:])), Subset(source, np.sort(order[:count]))
