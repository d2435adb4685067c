"""The child that decodes untrusted bytes: one photo a line on its standard input, one answer a line on its output.

It knows no setting and no secret. What kills it costs one attempt; `encoders` starts another.
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
"""Of computing for one photo; the kernel ends a child that takes more. A photo of 60 megapixels takes about 3."""


def request(source: Path, into: Path, specs: tuple[VariantSpec, ...], max_pixels: int, memory: int) -> bytes:
    """Write one job as a line."""
    job = {
        "source": str(source),
        "into": str(into),
        "specs": [asdict(spec) for spec in specs],
        "max_pixels": max_pixels,
        "memory": memory,
    }
    return json.dumps(job).encode() + b"\n"


def read_answer(line: bytes) -> picture.Encoded | Failure:
    """Read what a child answered. Raises ValueError or KeyError where it wrote something else."""
    answer = json.loads(line)
    if "failure" in answer:
        return Failure(Reason(answer["failure"]), str(answer["detail"]))
    variants = tuple(
        picture.EncodedVariant(**{**variant, "path": Path(variant["path"])}) for variant in answer.pop("variants")
    )
    return picture.Encoded(**answer, variants=variants)


def main() -> None:
    """Work until the input ends, which it does when the parent does."""
    for line in sys.stdin.buffer:
        _limit_cpu()
        answer = _encode(json.loads(line))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _encode(job: Mapping[str, Any]) -> dict[str, object]:
    specs = tuple(VariantSpec(**spec) for spec in job["specs"])
    made = picture.encode(Path(job["source"]), Path(job["into"]), specs, job["max_pixels"], job["memory"])
    if isinstance(made, Failure):
        return {"failure": made.reason.value, "detail": made.detail}
    answer = asdict(made)
    for variant in answer["variants"]:
        variant["path"] = str(variant["path"])
    return answer


def _limit_cpu() -> None:
    used = os.times()
    soft = int(used.user + used.system) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody is there to hear of a parent that was killed meanwhile
    main()
