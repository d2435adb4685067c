"""The component's JavaScript passes the type checker, and its `.d.ts` files are those that the compiler generates."""

import re
import subprocess
from pathlib import Path

import pytest

from local.config import PROJECT
from services.resolver.models import Image, ListingImages, Variant
from tests import tools

pytestmark = pytest.mark.slow

ASSETS = PROJECT / "services" / "resolver" / "assets"
OPTIONS = (
    *("--allowJs", "--checkJs", "--strict", "--declaration", "--emitDeclarationOnly", "--target", "es2023"),
    *("--lib", "es2023,dom,dom.iterable", "--module", "esnext", "--moduleResolution", "bundler"),
)


def test_the_declarations_equal_those_that_the_compiler_generates(tmp_path: Path) -> None:
    code, made = tmp_path / "code", tmp_path / "made"
    code.mkdir()
    for file in ASSETS.glob("*.js"):  # copied without the declarations, which the compiler would read instead
        (code / file.name).write_text(file.read_text())
    command = [*tools.typescript(), *OPTIONS, "--outDir", str(made), str(code / "listing-photos.js")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    assert {path.name: path.read_text() for path in made.iterdir()} == {
        path.name: path.read_text() for path in ASSETS.glob("*.d.ts")
    }, f"the code has changed: cp {made}/*.d.ts {ASSETS}"


@pytest.mark.parametrize("model", [Image, Variant, ListingImages])
def test_the_client_s_types_have_every_field_of_an_answer(model: type[Image | Variant | ListingImages]) -> None:
    declared = (ASSETS / "listing-images-client.d.ts").read_text()
    body = re.search(rf"export type {model.__name__} = {{(.*?)\n}};", declared, re.DOTALL)
    assert body is not None
    assert re.findall(r"^ {4}(\w+): ", body[1], re.MULTILINE) == list(model.model_fields)
