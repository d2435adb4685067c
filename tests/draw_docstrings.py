"""Draw docstrings for a reader who has never seen the code: are they understood at one reading?

`python -m tests.draw_docstrings` prints twenty, drawn with the commit's hash as the seed, so that nobody chooses them.
The reader also gets docs/glossary.md, writes down what each means, and rates its clarity from 1 to 5. The aim: at least
eighteen understood as the code means them, and a mean of 4.5.
"""

import ast
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("services", "shared", "ops", "local", "bench")
PROJECT = Path(__file__).parent.parent
DRAWN = 20

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Drawn:
    """One docstring with the line that it documents; `place` is the file and line, for whoever checks the reading."""

    place: str
    signature: str
    docstring: str


def documented(path: Path) -> Iterator[Drawn]:
    """Yield every function and class of a file that has a docstring, outer ones before those inside them."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)):
            lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
            signature = " ".join(line.strip() for line in lines) or ast.unparse(node).splitlines()[0]
            yield Drawn(f"{path.relative_to(PROJECT)}:{node.lineno}", signature, docstring)


def draw(seed: str, count: int) -> Sequence[Drawn]:
    """Draw `count` docstrings at random from all packages. The same seed on the same commit draws the same ones."""
    files = sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    return random.Random(seed).sample([found for path in files for found in documented(path)], count)


def main() -> None:
    """Draw twenty docstrings, and print each with its place and signature.

    `python -m tests.draw_docstrings SEED` takes another seed than the commit's hash.
    """
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    seed = sys.argv[1] if len(sys.argv) > 1 else commit.stdout.strip()
    sys.stdout.write(f"seed {seed}\n")
    for number, drawn in enumerate(draw(seed, DRAWN), 1):
        sys.stdout.write(f"\n{number}. [{drawn.place}]\n{drawn.signature}\n    {drawn.docstring}\n")


if __name__ == "__main__":
    main()
