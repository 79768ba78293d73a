"""What faults work on."""

from dataclasses import dataclass

from chaos.proxies import Proxies
from deploy.local.own_stack import OwnStack
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Site:
    """A running system: its programs, what stands between them, how it is set up; ``seed`` is the run's."""

    stack: OwnStack
    proxies: Proxies
    settings: Settings
    seed: int
