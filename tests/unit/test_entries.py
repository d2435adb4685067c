"""The entries of a cache: which are kept, which are evicted, and which a tag finds."""

from services.resolver.cache_metrics import CacheCounts
from services.resolver.entries import CacheEntries, Entry


def an_entry(value: str = "v", *tags: str, read_at: float = 100.0, size: int = 10) -> Entry[str]:
    return Entry(value, frozenset(tags), size, read_at, fresh_until=read_at + 1)


def some_entries(max_bytes: int = 1_000) -> tuple[CacheEntries[str, str], CacheCounts]:
    counts = CacheCounts("x")
    return CacheEntries(max_bytes, counts), counts


def test_an_entry_replaces_an_older_one_of_its_key_and_not_a_newer_one() -> None:
    entries, counts = some_entries()
    for value, read_at, expected in (("first", 5, "first"), ("newer", 6, "newer"), ("late", 5, "newer")):
        entries.put("a", an_entry(value, read_at=read_at))
        assert entries.by_key["a"].value == expected
        assert counts.bytes == 10


def test_a_tag_finds_the_entries_that_have_it_for_as_long_as_they_are_kept() -> None:
    entries, counts = some_entries()
    entries.put("a", an_entry("a", "X", "Y"))
    entries.put("b", an_entry("b", "Y"))
    assert [entries.tagged([tag]) for tag in "XYZ"] == [{"a"}, {"a", "b"}, set()]
    entries.put("a", an_entry("a", "Z", read_at=101))
    assert [entries.tagged([tag]) for tag in "XYZ"] == [set(), {"b"}, {"a"}]
    for key in ("a", "b", "b", "never there"):
        entries.remove(key)
    assert entries.tagged("XYZ") == set()
    assert not entries._keys_by_tag
    assert counts.bytes == 0


def test_an_expired_entry_is_stale_and_stays() -> None:
    entries, counts = some_entries()
    entries.put("a", an_entry())
    entries.expire(["a"])
    assert entries.by_key["a"].fresh_until == 0.0
    assert counts.bytes == 10


def test_values_are_returned_only_if_every_key_was_read_after_the_limit() -> None:
    entries, _ = some_entries()
    entries.put("a", an_entry("old", read_at=10))
    entries.put("b", an_entry("new", read_at=20))
    assert entries.values_read_after(["a", "b"], 9) == {"a": "old", "b": "new"}
    assert entries.values_read_after(["b"], 10) == {"b": "new"}
    assert entries.values_read_after(["a", "b"], 10) is None
    assert entries.values_read_after(["b", "c"], 9) is None


def test_evicted_are_the_oldest_entries_that_are_too_many_and_all_that_are_too_old() -> None:
    entries, counts = some_entries(max_bytes=30)
    for number in range(5):
        entries.put(f"k{number}", an_entry(read_at=number))
    entries.evict(read_before=-1)
    assert (list(entries.by_key), counts.bytes) == (["k2", "k3", "k4"], 30)
    entries.evict(read_before=3)
    assert (list(entries.by_key), counts.bytes) == (["k4"], 10)
