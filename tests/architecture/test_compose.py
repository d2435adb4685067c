"""Does docker-compose.yml run the same system, with the same settings, servers and services as `make up`?"""

import shutil
import subprocess
from typing import Any

import yaml

from local.config import PROJECT, SERVICES
from shared.settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())


def test_every_setting_is_given_to_every_service() -> None:
    names = {f"IMAGES_{name.upper()}" for name in Settings.model_fields}
    for name in (*SERVICES, "init"):
        given = COMPOSE["services"][name]["environment"]
        assert set(given) == names, name


def test_the_defaults_are_those_of_the_settings() -> None:
    given = COMPOSE["services"]["resolver"]["environment"]
    for name, field in Settings.model_fields.items():
        value = given[f"IMAGES_{name.upper()}"]
        if isinstance(value, str) and ":-" in value:
            default = value.split(":-", 1)[1].removesuffix("}")
            if name != "public_url":
                plain = (
                    field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
                )
                assert default == (f"{plain:g}" if isinstance(plain, float) else str(plain)), name
        elif name.endswith("_port"):
            assert value == field.default, name


def test_the_services_wait_for_their_servers() -> None:
    services = COMPOSE["services"]
    assert services["init"]["command"] == ["ops.imagectl", "init"]
    assert set(services["init"]["depends_on"]) == {"kafka", "mongo", "s3"}
    for server in ("kafka", "mongo", "s3"):
        assert services["init"]["depends_on"][server] == {"condition": "service_healthy"}
        assert "healthcheck" in services[server]
    for name in SERVICES:
        assert services[name]["command"] == [f"services.{name}"]
        assert services[name]["depends_on"] == {"init": {"condition": "service_completed_successfully"}}


def test_the_files_that_the_monitoring_mounts_exist() -> None:
    for name in ("prometheus", "grafana"):
        service = COMPOSE["services"][name]
        assert service["profiles"] == ["monitoring"]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (PROJECT / source).is_dir(), volume


def test_prometheus_scrapes_every_service() -> None:
    config = yaml.safe_load((PROJECT / "ops" / "monitoring" / "prometheus.yml").read_text())
    (targets,) = [target["targets"] for target in config["scrape_configs"][0]["static_configs"]]
    ports = {name: COMPOSE["services"][name]["environment"][f"IMAGES_{name.upper()}_PORT"] for name in SERVICES}
    assert set(targets) == {f"{name}:{port}" for name, port in ports.items()}


def test_a_compose_client_accepts_the_file() -> None:
    """A client checks the file without an engine. Without a client, this test does nothing."""
    for client in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(client[0]) and _works([*client, "version"]):
            done = subprocess.run(
                [*client, "-f", "docker-compose.yml", "config", "-q"],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
