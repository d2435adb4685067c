"""What a benchmark found, and how it is shown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, beside what it is measured against; `baseline` is None where there is nothing to compare with."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of its baseline."""
        return self.value / self.baseline if self.baseline else None
