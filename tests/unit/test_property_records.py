"""Which forms of property records are read, and how are unusable parts reported?"""

import io
import json
from typing import Any

import pytest

from shared.property_records import Unusable, read

A, B = {"ListingKey": "A", "ListPrice": 1.5}, {"ListingKey": "B", "Media": None}
PAGE = {"@odata.context": "x", "value": [A, B], "@odata.nextLink": "y"}


@pytest.mark.parametrize(
    "text",
    [
        f"{json.dumps(A)}\n{json.dumps(B)}\n",
        f"\n\n{json.dumps(A)}\n\n{json.dumps(B)}",
        json.dumps([A, B]),
        json.dumps([A, B], indent=2),
        "  \n" + json.dumps([A, B], indent=2),
        json.dumps(PAGE),
        json.dumps(PAGE, indent=2),
        json.dumps({**PAGE, "value": [A]}) + "\n" + json.dumps({"value": [B]}),
    ],
    ids=["NDJSON", "blank lines", "array", "array over lines", "leading space", "page", "page over lines", "pages"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_usual_form_is_read(text: str, encoding: str) -> None:
    assert list(read(io.BytesIO(text.encode(encoding)))) == [A, B]


def test_one_record_over_several_lines_is_read() -> None:
    assert list(read(io.BytesIO(json.dumps(A, indent=2).encode()))) == [A]


@pytest.mark.parametrize(
    ("text", "records", "places"),
    [
        ("", 0, ["after record 0"]),
        ("[]", 0, []),
        (json.dumps({"value": []}), 0, []),
        (json.dumps({"value": []}, indent=2), 0, []),
        ("not JSON", 0, ["after record 0"]),
        (f"{json.dumps(A)}\nnot JSON\n{json.dumps(B)}", 2, ["line 2"]),
        (f'{json.dumps(A)}\n{{"City": "Toronto"}}\n[1]\n7', 1, ["line 2", "line 3", "line 4"]),
        (json.dumps([A, 1, {"ListingKey": ""}, B]), 2, ["record 2", "record 3"]),
        (json.dumps([A, B])[:-4], 1, ["after record 1"]),
        ("\x00\x01", 0, ["after record 0"]),
    ],
)
def test_an_unusable_record_is_reported_with_its_place(text: str, records: int, places: list[str]) -> None:
    found = list(read(io.BytesIO(text.encode())))
    assert sum(isinstance(item, dict) for item in found) == records
    assert [item.where for item in found if isinstance(item, Unusable)] == places


def test_progress_ends_at_the_files_size() -> None:
    rows: list[dict[str, Any]] = [{"ListingKey": str(number), "Media": []} for number in range(1_000)]
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows)):
        sizes = list[int]()
        assert len(list(read(io.BytesIO(text.encode()), sizes.append))) == 1_000
        assert sizes == sorted(sizes)
        assert sizes[-1] == len(text)
