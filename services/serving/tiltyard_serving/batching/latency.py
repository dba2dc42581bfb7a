"""How long the predictions of one model take, learnt from those it has made."""

import math

_SMOOTHING = 0.2
# A prediction that took longer than so many times what is known was held up by something else, most likely. If it
# was not, the next ones will tell.
_BELIEVED = 10


class LatencyEstimate:
    """What predictions of a number of rows take.

    Attributes:
        seconds_per_row: on average; 0 before the first prediction.
        most_s_per_row: at the most, of what is known; `least_s` is never over twice that for each row, or for none.
    """

    def __init__(self) -> None:
        self.seconds_per_row = 0.0
        self.most_s_per_row = 0.0
        # By the length of the number of rows in bits: a call costs, however few its rows are, so a row alone takes
        # many times what it takes among others.
        self._seconds: dict[int, float] = {}

    def observe(self, rows: int, seconds: float, among: int = 1) -> None:
        """Learns from one prediction, made at the same time as others, `among` so many."""
        # They share the processors: a row keeps the others waiting for its part only.
        per_row_s = seconds / among / max(1, rows)
        self.seconds_per_row += _SMOOTHING * (per_row_s - self.seconds_per_row)
        size = rows.bit_length()
        known_s = self._seconds.get(size)
        if known_s is None:
            self._seconds[size] = seconds
        else:
            self._seconds[size] = known_s + _SMOOTHING * (min(seconds, _BELIEVED * known_s) - known_s)
        # So many bits are half of what follows them at the least.
        self.most_s_per_row = max([known_s / 2.0 ** max(0, size - 1) for size, known_s in self._seconds.items()])

    def least_s(self, rows: int) -> float:
        """What a prediction of so many rows takes at the least, as far as is known; 0 if nobody knows.

        A call costs, however few its rows are: what a row alone takes says nothing about what many take.
        """
        size = rows.bit_length()
        if (known_s := self._seconds.get(size)) is not None:
            return known_s
        smaller = sorted(known for known in self._seconds if known < size)
        if not smaller:
            return 0.0
        largest, largest_s = smaller[-1], self._seconds[smaller[-1]]
        if len(smaller) == 1 or any(known > size for known in self._seconds):
            return largest_s
        # As much more for each row as from the second largest to the largest.
        before = smaller[-2]
        per_row_s = max(0.0, largest_s - self._seconds[before]) / (2.0**largest - 2.0**before)
        return largest_s + per_row_s * (2.0**size - 2.0**largest)

    def expected_s(self, rows: int) -> float:
        """What a prediction of so many rows will take, rather too much than too little; infinity if nobody knows."""
        size = rows.bit_length()
        if (known_s := self._seconds.get(size)) is not None:
            return known_s
        for smaller in range(size - 1, -1, -1):
            if (known_s := self._seconds.get(smaller)) is not None:
                return known_s * 2.0 ** (size - smaller)
        return math.inf
