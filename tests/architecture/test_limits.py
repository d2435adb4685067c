"""How large may functions and files be? Measured in the code, without the tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

from local.config import PROJECT

PACKAGES = ("services", "shared", "ops", "local", "bench")
MAX_FUNCTION_LINES, MOST_FUNCTIONS_LINES, MAX_FILE_LINES = 45, 30, 400
CODE = [path for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))]


def functions() -> Iterator[tuple[str, int]]:
    """Yield the place and the number of lines of each function, from its `def` to its last line."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{place(path)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def place(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def test_no_function_has_more_than_45_lines() -> None:
    assert {name: lines for name, lines in functions() if lines > MAX_FUNCTION_LINES} == {}


def test_nine_in_ten_functions_have_fewer_than_30_lines() -> None:
    lengths = [lines for _, lines in functions()]
    assert sum(lines < MOST_FUNCTIONS_LINES for lines in lengths) >= 0.9 * len(lengths)


def test_no_file_has_more_than_400_lines() -> None:
    lines = {place(path): len(path.read_text().splitlines()) for path in CODE}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}
