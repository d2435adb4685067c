"""A result of a benchmark: a row of the printed table and of bench-results.json."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A result of a benchmark, and the baseline to compare it with; `baseline` is None if there is none.

    `against` says in words what the baseline is.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """Return the value as a multiple of its baseline: 2.0 if it is twice as large. None if there is no baseline."""
        return self.value / self.baseline if self.baseline else None
