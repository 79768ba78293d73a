"""What one stack is to run: every program with its settings and its environment, and the record of it.

Comes in: the state folder and the user's environment.  Goes out: a `Plan`.  Refused: ports, workers or addresses that
make no sense, and parts that are not there.  Planning writes the servers' settings; `write` the rest.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.cache import cache_folder
from deploy.local.copies import Copies, copies_from
from deploy.local.environment import (
    ALLOCATOR,
    EXTERNAL_ADDRESSES,
    KAFKA_PROXY,
    addresses,
    child_environment,
    is_external,
    local_environment,
)
from deploy.local.failures import StepFailed
from deploy.local.parts import Parts, locate
from deploy.local.ports import Ports, ports_from
from deploy.local.programs import Program, application_programs
from deploy.local.servers import server_programs
from deploy.local.state import State
from deploy.local.supervisor import settings_text

_ONE = Copies()
# Not for the servers: ours are none of their business, and Weaviate would obey a variable meant for another one.
_NOT_FOR_SERVERS = ("FRESHET_", "LLM_", "WEAVIATE_", "RAFT_", "CLUSTER_", "KAFKA_")


@dataclass(frozen=True, slots=True)
class Plan:
    """What should run."""

    ports: Ports
    parts: Parts | None  # none with external servers
    cache: Path
    programs: list[Program]
    settings: str
    environment: dict[str, dict[str, str]]
    copies: Copies = _ONE

    def of(self, *groups: str) -> list[Program]:
        """The programs of these groups."""
        return [program for program in self.programs if program.group in groups]

    @property
    def external(self) -> bool:
        """Whether the user brings the servers."""
        return self.parts is None

    @property
    def addresses(self) -> dict[str, str]:
        """Where the servers are, as `FRESHET_*` variables."""
        return {name: self.environment["gateway"][name] for name in EXTERNAL_ADDRESSES}


def make_plan(state: State, user: Mapping[str, str]) -> Plan:
    """Work out every program, and write the servers' settings."""
    user = _with_sources(user)
    ports = ports_from(user)
    addresses(ports, user)  # refuses a missing external address before anything is touched
    cache = cache_folder(user)
    parts = None if is_external(user) else locate(cache, user)
    copies = copies_from(user)
    if parts:
        copies.check(state.folder / "data")
        if (proxy := user.get(KAFKA_PROXY)) and len(proxy.split(",")) != copies.brokers:
            raise StepFailed(f"{KAFKA_PROXY} must name a proxy for each broker, {copies.brokers} in all.")
    servers = server_programs(ports, state.folder, parts, copies, user.get(KAFKA_PROXY, "")) if parts else []
    programs = [*servers, *application_programs(ports, user)]
    base = child_environment(user)
    bare = {name: value for name, value in base.items() if not name.startswith(_NOT_FOR_SERVERS)}
    keywords = str(state.folder / "keywords")  # of this stack's log, so they go with its state
    application = {"FRESHET_KEYWORD_DIR": keywords, **ALLOCATOR, **base, **local_environment(ports, user)}
    environment = {
        program.name: {**(bare if program.bare else application), **program.environment} for program in programs
    }
    return Plan(ports, parts, cache, programs, settings_text(state, programs), environment, copies)


def _with_sources(user: Mapping[str, str]) -> Mapping[str, str]:
    """The mapping of the user's topics by value: so a changed file restarts the workers, wherever it lies."""
    path = user.get("FRESHET_SOURCES_FILE")
    if not path or user.get("FRESHET_SOURCES"):
        return user
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StepFailed(f"FRESHET_SOURCES_FILE: cannot read {path}: {error}") from None
    return {name: value for name, value in user.items() if name != "FRESHET_SOURCES_FILE"} | {"FRESHET_SOURCES": text}


def write(state: State, plan: Plan) -> None:
    """Write down what the supervisor and later commands need."""
    state.write(state.settings_file, plan.settings)
    state.write(state.environment_file, json.dumps(plan.environment))
    record = {
        "base": plan.ports.base,
        "external": plan.external,
        "copies": asdict(plan.copies),
        "programs": {program.name: {"group": program.group, "ports": dict(program.ports)} for program in plan.programs},
        "addresses": plan.addresses,
    }
    state.write(state.plan_file, json.dumps(record, indent=1))
