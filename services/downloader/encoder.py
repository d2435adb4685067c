"""The child process that decodes untrusted bytes: reads one photo's job a line from stdin, writes its answer to stdout.

It knows no setting and no secret. Bytes that kill it cost one attempt; `encoders` starts another child.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.downloader import picture
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

CPU_SECONDS = 30
"""How long a child may compute for one photo before the kernel ends it. A photo of 60 megapixels takes about 3 s."""


def to_line(source: Path, into: Path, specs: tuple[VariantSpec, ...], max_pixels: int, memory_limit: int) -> bytes:
    """Return the job of one photo, with the arguments of `picture.encode`, as the line to write to a child."""
    job = {
        "source": str(source),
        "into": str(into),
        "specs": [asdict(spec) for spec in specs],
        "max_pixels": max_pixels,
        "memory_limit": memory_limit,
    }
    return json.dumps(job).encode() + b"\n"


def read_answer(line: bytes) -> picture.Encoded | Failure:
    """Return what a child answered. Raises ValueError or KeyError if the line is no answer."""
    answer = json.loads(line)
    if "failure" in answer:
        return Failure(Reason(answer["failure"]), str(answer["detail"]))
    variants = tuple(
        picture.EncodedVariant(**{**variant, "path": Path(variant["path"])}) for variant in answer.pop("variants")
    )
    return picture.Encoded(**answer, variants=variants)


def main() -> None:
    """Read a job, encode its photo and write the answer, again and again until stdin ends with the parent process."""
    for line in sys.stdin.buffer:
        _limit_cpu()
        answer = _encode(json.loads(line))
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
    """Let the kernel end this process after CPU_SECONDS more of computing."""
    used = os.times()
    soft_limit = int(used.user + used.system) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft_limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends the process silently if its parent was killed meanwhile
    main()
