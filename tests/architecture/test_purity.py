"""Are rules pure? They take facts and the time, and return decisions; and importing a module has no effect."""

import ast
from pathlib import Path

import pytest

from local.config import PROJECT

PURE_BUDGET = (
    "accounting", "advance", "breaker", "codec", "grants", "ledger", "limits", "moments", "pacing", "pause",
    "suspension", "throttling", "use", "windows",
)  # fmt: skip
PURE = [
    *(PROJECT / "shared" / "origin_budget" / f"{name}.py" for name in PURE_BUDGET),
    *sorted((PROJECT / "shared" / "domain").rglob("*.py")),
    *sorted((PROJECT / "services").glob("*/decide.py")),
    PROJECT / "services" / "scheduler" / "schedule.py",
    PROJECT / "services" / "scheduler" / "sweep_plan.py",
    PROJECT / "services" / "scheduler" / "window.py",
    PROJECT / "services" / "desk" / "charts.py",
    PROJECT / "services" / "desk" / "formatting.py",
    PROJECT / "shared" / "consumer" / "progress.py",
]
IMPURE_MODULES = {"asyncio", "logging", "os", "pathlib", "random", "socket", "subprocess", "threading", "time", "uuid"}
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "sleep", "random", "uuid4"}
PRODUCTION = [path for folder in ("shared", "services", "ops") for path in sorted((PROJECT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_a_pure_module_does_no_io_reads_no_clock_and_awaits_nothing(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"line {node.lineno}: awaits"
        if isinstance(node, ast.Import):
            assert not {imported.name.split(".")[0] for imported in node.names} & IMPURE_MODULES, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in IMPURE_MODULES, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in IMPURE_CALLS, f"line {node.lineno}: calls {called}"


@pytest.mark.parametrize("path", PRODUCTION, ids=name_of)
def test_importing_a_module_has_no_effect(path: Path) -> None:
    """The top level of a module connects to nothing, and reads no file and no environment variable."""
    forbidden = {"connect", "run", "load", "read_text", "open", "getenv", "Settings", "Broker", "print", "mkdir"}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.If | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called not in forbidden, f"line {node.lineno}: calls {called}"
            assert not (isinstance(node, ast.Attribute) and node.attr == "environ"), f"line {statement.lineno}"


def test_every_module_that_claims_to_be_pure_is_tested() -> None:
    """Each module whose docstring says "Pure." is tested above."""
    claims = [path for path in PRODUCTION if "Pure." in (ast.get_docstring(ast.parse(path.read_text())) or "")]
    assert {name_of(path) for path in claims} <= {name_of(path) for path in PURE}
