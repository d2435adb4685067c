"""`make gallery` without what it needs says what to do."""

from pathlib import Path

import pytest

from local import gallery
from local.processes import LocalError


def test_without_a_running_stack_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="make up"):
        gallery.show("", tmp_path)
    assert list(tmp_path.iterdir()) == []
