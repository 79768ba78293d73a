"""What workers, gateway and servers are told."""

from pathlib import Path

import pytest

from deploy.local.environment import EXTERNAL_ADDRESSES, MissingAddress, child_environment, local_environment
from deploy.local.failures import StepFailed
from deploy.local.plan import make_plan
from deploy.local.ports import Ports
from deploy.local.programs import BadWorkers, application_programs, worker_counts
from deploy.local.state import State


def test_local_addresses_win_over_the_users() -> None:
    """Without STACK=external a broker left in the shell never receives our records."""
    settings = local_environment(Ports(9000), {"FRESHET_BROKERS": "elsewhere:9092", "PATH": "/bin"})
    assert settings["FRESHET_BROKERS"] == "127.0.0.1:9021"
    assert settings["FRESHET_REDIS_STATE_URL"] == "redis://127.0.0.1:9029/0"
    assert settings["FRESHET_GATEWAY_PORT"] == "9000"
    assert "PATH" not in settings


def test_settings_of_the_user_pass_through() -> None:
    """A FRESHET_ setting reaches the workers, LLM_URL under its long name, and how to run the stack does not."""
    user = {"FRESHET_PREFIX": "x.", "LLM_URL": "http://llm", "LLM_MODEL": ""}
    user |= {"FRESHET_WORKERS": "embed=2", "FRESHET_KAFKA_PROXY": "h:1"}
    settings = local_environment(Ports(), user)
    assert settings["FRESHET_PREFIX"] == "x."
    assert settings["FRESHET_LLM_URL"] == "http://llm"
    assert "FRESHET_LLM_MODEL" not in settings
    assert not {"FRESHET_WORKERS", "FRESHET_KAFKA_PROXY"} & set(settings)


def test_external_addresses_are_the_users() -> None:
    """With STACK=external every address comes from the user."""
    user = {"STACK": "external", **{name: f"at-{name}" for name in EXTERNAL_ADDRESSES}}
    settings = local_environment(Ports(), user)
    assert {name: settings[name] for name in EXTERNAL_ADDRESSES} == {name: user[name] for name in EXTERNAL_ADDRESSES}


def test_what_stands_in_front_of_a_server_is_used_in_its_place() -> None:
    """With STACK=proxied the addresses that are given win, and the others are the stack's own."""
    settings = local_environment(Ports(9000), {"STACK": "proxied", "FRESHET_WEAVIATE_URL": "http://127.0.0.1:9090"})
    assert settings["FRESHET_WEAVIATE_URL"] == "http://127.0.0.1:9090"
    assert settings["FRESHET_WEAVIATE_GRPC"] == "127.0.0.1:9024"


def test_a_missing_external_address_is_named() -> None:
    """STACK=external without an address says which one is missing."""
    with pytest.raises(MissingAddress, match="FRESHET_REDIS_CACHE_URL"):
        local_environment(Ports(), {"STACK": "external", **dict.fromkeys(EXTERNAL_ADDRESSES[:-1], "x")})


def test_children_write_bytecode() -> None:
    """The shell's ban on bytecode files does not reach our children; the rest of its settings does."""
    assert child_environment({"PYTHONDONTWRITEBYTECODE": "1", "LANG": "C"}) == {"LANG": "C"}


def test_each_slot_has_a_name_and_a_port_of_its_own() -> None:
    """One slot keeps the worker's name; several are numbered from 0, each with its own metrics port."""
    programs = {program.name: program for program in application_programs(Ports(), {"FRESHET_WORKERS": "embed=2"})}
    assert "chunk" in programs
    assert "embed" not in programs
    assert [programs[name].environment["FRESHET_WORKER_SLOT"] for name in ("embed-0", "embed-1")] == ["0", "1"]
    assert programs["embed-1"].command[-2:] == ("streams", "embed")
    assert len({program.environment.get("FRESHET_METRICS_PORT") for program in programs.values()}) == len(programs)


def test_a_worker_may_be_left_out() -> None:
    """A count of zero starts no such worker."""
    names = {program.name for program in application_programs(Ports(), {"FRESHET_WORKERS": "generate=0"})}
    assert "generate" not in names


@pytest.mark.parametrize("variable", ["FRESHET_EDGE_URLS", "FRESHET_EDGE_URLS_FILE"])
def test_edges_bring_their_worker(variable: str) -> None:
    """Where there are edges one more worker runs, which may be scaled; without any there is none."""
    assert "purge" not in {program.name for program in application_programs(Ports(), {variable: ""})}
    user = {variable: "http://127.0.0.1:6081/"}
    assert "purge" in {program.name for program in application_programs(Ports(), user)}
    assert worker_counts({**user, "FRESHET_WORKERS": "purge=2"})["purge"] == 2


@pytest.mark.parametrize("variable", ["FRESHET_SOURCES", "FRESHET_SOURCES_FILE"])
def test_topics_of_ones_own_have_a_worker(variable: str) -> None:
    """The map worker runs where there is something to map, and may be left out or multiplied like any other."""
    assert "map" not in {program.name for program in application_programs(Ports(), {variable: ""})}
    with pytest.raises(BadWorkers, match="map=2"):
        worker_counts({"FRESHET_WORKERS": "map=2"})
    names = {program.name for program in application_programs(Ports(), {variable: "x", "FRESHET_WORKERS": "map=2"})}
    assert {"map-0", "map-1"} <= names


def test_the_mapping_is_handed_on_by_value(tmp_path: Path) -> None:
    """Workers get what the file says, not where it lies, so that a changed file is a changed setting."""
    file = tmp_path / "sources.toml"
    user = {"FRESHET_SOURCES_FILE": str(file), "STACK": "external"} | dict.fromkeys(EXTERNAL_ADDRESSES, "x:1")
    with pytest.raises(StepFailed, match="FRESHET_SOURCES_FILE"):
        make_plan(State(tmp_path), user)
    file.write_text("[[sources]]")
    environment = make_plan(State(tmp_path), user).environment["map"]
    assert environment["FRESHET_SOURCES"] == "[[sources]]" and "FRESHET_SOURCES_FILE" not in environment


@pytest.mark.parametrize("text", ["embd=2", "embed", "embed=two", "embed=-1"])
def test_worker_counts_that_make_no_sense_are_refused(text: str) -> None:
    """A typing error is told, not ignored."""
    with pytest.raises(BadWorkers, match="FRESHET_WORKERS"):
        worker_counts({"FRESHET_WORKERS": text})


def test_nothing_names_this_machine() -> None:
    """No file of the local stack holds the path of the checkout it was written in."""
    here = Path(__file__).resolve().parents[2]
    for path in (here / "deploy").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert str(here) not in path.read_text(errors="replace"), path
