"""Names that cost little memory: those of a data set's sequences may be millions, and every loader process has them."""

from collections.abc import Iterable
from collections.abc import Sequence as Indexed

import numpy as np


class Names(Indexed[str]):
    """Names in one block of memory, which processes share after a fork; a list of strings would be copied by each."""

    def __init__(self, names: Iterable[str] | np.ndarray) -> None:
        """Take names, or an array of UTF-8 bytes such as `array` returns."""
        self.array = names if isinstance(names, np.ndarray) else np.array([name.encode() for name in names], dtype="S")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return bytes(self.array[index]).decode()
