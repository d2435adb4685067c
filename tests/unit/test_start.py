"""A service with wrong settings does not start, and names every fault at once."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.config import PROJECT, SERVICES

pytestmark = pytest.mark.slow


def start(name: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHONPATH": str(PROJECT),
        "PATH": "",
        **{f"IMAGES_{key.upper()}": value for key, value in settings.items()},
    }
    command = [sys.executable, "-m", name]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_every_wrong_setting_and_feed_and_exits(service: str, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds.toml"
    feeds.write_text(
        '[feeds.a]\nimage_hosts = []\nconcurrency = 99\n[feeds.b]\nimage_hosts = ["x.example.com"]\nspeed = 1\n'
    )
    done = start(
        f"services.{service}", tmp_path, feeds=str(feeds), resolver_port="0", variants="full=1600:bmp:80",
        mongo="http://nowhere", superseded_hours="-1", log_level="loud",
    )  # fmt: skip
    assert done.returncode == 2
    for fault in (
        "IMAGES_RESOLVER_PORT", "IMAGES_VARIANTS", "IMAGES_MONGO", "IMAGES_SUPERSEDED_HOURS", "IMAGES_LOG_LEVEL",
        "[feeds.a] image_hosts", "[feeds.a] concurrency", "[feeds.b] speed",
    ):  # fmt: skip
        assert fault in done.stderr, fault
    assert "Traceback" not in done.stderr
    assert all(line.startswith(f"{service}: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_whose_port_is_taken_names_the_setting_and_exits(service: str, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds.toml"
    feeds.write_text('[feeds.a]\nimage_hosts = ["x.example.com"]\n')
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        nowhere = {"kafka": "127.0.0.1:9", "mongo": "mongodb://127.0.0.1:9/", "s3_endpoint": "http://127.0.0.1:9"}
        done = start(f"services.{service}", tmp_path, feeds=str(feeds), **nowhere, **{f"{service}_port": str(port)})
    assert done.returncode == 1
    assert f"{service}: IMAGES_{service.upper()}_PORT: port {port} of 127.0.0.1 cannot be used: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_feeds_file_is_named(tmp_path: Path) -> None:
    done = start("services.scheduler", tmp_path, feeds=str(tmp_path / "nowhere.toml"))
    assert done.returncode == 2
    assert "nowhere.toml" in done.stderr


def test_imagectl_fails_with_wrong_settings_without_a_traceback(tmp_path: Path) -> None:
    feeds = tmp_path / "feeds.toml"
    feeds.write_text('[feeds.a]\nimage_hosts = ["x.example.com"]\n')
    wrong = start("ops.imagectl", tmp_path, feeds=str(feeds), kafka="")
    assert wrong.returncode != 0
    assert "Traceback" not in wrong.stderr
