"""What does imagectl advise about a listing, an image or a URL without a record?"""

import pytest

from ops import circumstances


@pytest.mark.parametrize(
    ("what", "waiting", "named", "phrases"),
    [
        ("X1", 0, False, ["Kafka keeps them for 30 days", "imagectl export listing-seen --from 30d | grep X1"]),
        ("X1", 1, False, ["1 record of listing-seen yet to be read; it may be among them"]),
        ("X1", 0, True, []),
        ("https://a.example.com/1.jpg?t=2", 0, False, ["letter for letter the one that the MLS announced"]),
        ("https://a.example.com/1.jpg", 2, False, ["2 records of listing-seen yet to be read", "letter for letter"]),
    ],
)
def test_advice_depends_on_the_subject_and_the_unread_records(
    what: str, waiting: int, named: bool, phrases: list[str]
) -> None:
    lines = list(circumstances.what_to_check(what, waiting, is_named=named))
    assert all(phrase in " ".join(lines) for phrase in phrases), lines
    assert bool(lines) is bool(phrases)
    assert "never" not in " ".join(lines)
