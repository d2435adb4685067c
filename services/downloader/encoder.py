"""The child process that decodes and encodes photos, whose bytes are untrusted.

The child first writes READY to stdout. Then it reads jobs from stdin, one JSON object a line for one photo, and writes
each answer as a line to stdout. It has no settings and no secrets. If the bytes of a photo kill it, one attempt fails,
and `encoders` starts another child.
"""

import json
import os
import resource
import signal
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.downloader import containment, magic, picture, resizer
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

READY = b"ready\n"
"""The first line that a child writes, once it has checked that it can resize pictures."""
CPU_SECONDS = 30
"""How much CPU time a child may take for one photo before the kernel ends it; 60 megapixels take about 3 s."""


def to_line(source: Path, into: Path, specs: tuple[VariantSpec, ...], max_pixels: int, memory_limit: int) -> bytes:
    """Return the job of one photo as the line that the parent process writes to a child's stdin.

    The arguments are the arguments with which the child calls `picture.encode`.
    """
    job = {
        "source": str(source),
        "into": str(into),
        "specs": [asdict(spec) for spec in specs],
        "max_pixels": max_pixels,
        "memory_limit": memory_limit,
    }
    return json.dumps(job).encode() + b"\n"


def read_answer(line: bytes) -> picture.Encoded | Failure:
    """Parse the line that a child wrote for a job; return the encoded photo, or its Failure.

    The caller must not trust the answer before `check_answer` has checked it. Raises ValueError or KeyError if the line
    is no answer, such as the empty line of a child that died.
    """
    answer = json.loads(line)
    try:
        if "failure" in answer:
            return Failure(Reason(answer["failure"]), str(answer["detail"]))
        variants = tuple(
            picture.EncodedVariant(**{**variant, "path": Path(variant["path"])}) for variant in answer.pop("variants")
        )
        return picture.Encoded(**answer, variants=variants)
    except (TypeError, AttributeError) as error:
        raise ValueError("the answer has other fields") from error


def check_answer(answer: picture.Encoded | Failure, into: Path, specs: Sequence[VariantSpec]) -> None:
    """Raise ValueError unless a child's answer fits a job with the folder `into` and the variants `specs`.

    Bytes that took over the child may answer anything. The answer must have one variant for each of `specs`. Each
    variant must be a file in the folder `into`, and no link, with the type of its spec and the announced size. The
    photo's own type must be one of the types in `magic.KINDS`. A Failure always fits.
    """
    if isinstance(answer, Failure):
        return
    if (answer.content_type, answer.extension) not in {(kind.content_type, kind.extension) for kind in magic.KINDS}:
        raise ValueError("the photo has a type that photos do not have")
    if sorted(variant.name for variant in answer.variants) != sorted(spec.name for spec in specs):
        raise ValueError("the variants are not those of the job")
    by_name = {spec.name: spec for spec in specs}
    for variant in answer.variants:
        _check_variant(variant, by_name[variant.name], into, specs)


def _check_variant(
    variant: picture.EncodedVariant, spec: VariantSpec, into: Path, specs: Sequence[VariantSpec]
) -> None:
    names = {f"{other.name}.{other.extension}" for other in specs if other.format == spec.format}
    if variant.path.parent != into or variant.path.name not in names:
        raise ValueError("a variant is not in its file")
    if (variant.content_type, variant.extension) != (spec.content_type, spec.extension):
        raise ValueError("a variant has a type that it was not asked for")
    found = variant.path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size != variant.file_size:
        raise ValueError("a variant's file is a link, or of another size")


def main() -> None:
    """Run the jobs from stdin one by one, and write each answer to stdout, until the parent process closes stdin.

    Raises RuntimeError before the first job if pictures cannot be resized.
    """
    resizer.check()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    is_contained = False
    for line in sys.stdin.buffer:
        _limit_cpu()
        job = json.loads(line)
        if not is_contained:  # from here on, untrusted bytes are read
            containment.contain({Path(job["source"]).parent, Path(job["into"]).parent})
            is_contained = True
        answer = _encode(job)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _encode(job: Mapping[str, Any]) -> dict[str, object]:
    specs = tuple(VariantSpec(**spec) for spec in job["specs"])
    encoded = picture.encode(Path(job["source"]), Path(job["into"]), specs, job["max_pixels"], job["memory_limit"])
    if isinstance(encoded, Failure):
        return {"failure": encoded.reason.value, "detail": encoded.detail}
    answer = asdict(encoded)
    for variant in answer["variants"]:
        variant["path"] = str(variant["path"])
    return answer


def _limit_cpu() -> None:
    """Let the kernel end this child process if it uses more than CPU_SECONDS of CPU time from now on.

    Called before each photo, so that no photo can occupy a core for ever.
    """
    used = os.times()
    soft_limit = int(used.user + used.system) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft_limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends the process silently if its parent was killed meanwhile
    main()
