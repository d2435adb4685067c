"""Golden files: what the program stored, sent or printed at a known time, compared with what it does now.

`check` compares; after an intended change, `REWRITE_GOLDEN=1 .venv/bin/pytest TEST` writes the file anew. Review its
diff: a stored or published name that changed breaks existing data and callers. Golden files hold stored and published
names only, never those of our own classes, so that renaming a class's field changes none of them.
"""

import difflib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "golden"


def check(name: str, found: object) -> None:
    """Compare `found` with the golden file `tests/golden/NAME.json`. Fail with a diff where they differ.

    With REWRITE_GOLDEN=1 in the environment, write `found` to the file instead.
    """
    path, text = FOLDER / f"{name}.json", to_json(found)
    if os.environ.get("REWRITE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    golden = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != golden:
        lines = difflib.unified_diff(golden.splitlines(), text.splitlines(), "golden", "now", n=3, lineterm="")
        diff = "\n".join(lines)
        pytest.fail(
            f"tests/golden/{name}.json differs from what the program does now:\n{diff}\n"
            "If the change is intended: REWRITE_GOLDEN=1 .venv/bin/pytest and this test, then review the diff.",
            pytrace=False,
        )


def read(name: str) -> Any:
    """Return the content of `tests/golden/NAME.json`, its dates as datetimes: what MongoDB would return."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"), object_hook=_from_json)


def common_headers_apart(answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return HTTP answers, by question, with the headers that all of them have moved to one place: `headers of all`.

    The golden file becomes shorter so. Each answer must have its headers in `headers`.
    """
    common = dict(set.intersection(*(set(answer["headers"].items()) for answer in answers.values())))
    rest = {
        question: answer | {"headers": {name: value for name, value in answer["headers"].items() if name not in common}}
        for question, answer in answers.items()
    }
    return {"headers of all": common, "answers": rest}


def to_json(found: object) -> str:
    """Return `found` as sorted, indented JSON. A datetime becomes {"$date": …}, to tell it from a text."""
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False, default=_default) + "\n"


def _default(value: object) -> object:
    if isinstance(value, datetime):
        return {"$date": value.astimezone(UTC).isoformat()}
    raise TypeError(f"a golden file cannot hold {value!r}")


def _from_json(found: dict[str, Any]) -> object:
    return datetime.fromisoformat(found["$date"]) if found.keys() == {"$date"} else found
