"""Varnish in front of a gateway on this machine, with the VCL of `deploy/varnish`: for tests and campaigns.

Comes in: a folder of its own, the gateway's port, its own port, a secret.  Goes out: a process that answers.
Refused: a machine without `varnishd`, in words that say what to install.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.failures import StepFailed
from deploy.local.programs import ROOT

START_SECONDS = 30.0  # it compiles its VCL with the machine's C compiler
STOP_SECONDS = 10.0
_VCL = ROOT / "deploy" / "varnish"


def varnishd() -> str | None:
    """The program, where the machine has it."""
    return shutil.which("varnishd", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


@dataclass
class Varnish:
    """One edge.  It may be stopped and started again, and has forgotten everything then."""

    folder: Path
    gateway: int
    port: int
    secret: str
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Returns when it answers."""
        program = varnishd()
        if program is None:
            raise StepFailed("Varnish is not installed: apt-get install varnish")
        self.folder = self.folder.resolve()  # it runs in a folder of its own
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "edge.vcl").write_text((_VCL / "edge.vcl").read_text())
        backend = (_VCL / "default.vcl").read_text().replace('"8000"', f'"{self.gateway}"')
        (self.folder / "default.vcl").write_text(backend)
        command = [program, "-F", "-j", "none", "-n", str(self.folder / "work"), "-a", f"127.0.0.1:{self.port}"]
        command += ["-T", "none", "-s", "malloc,32m", "-f", str(self.folder / "default.vcl")]
        with (self.folder / "log").open("ab") as log:
            environment = {**os.environ, "FRESHET_EDGE_SECRET": self.secret}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise StepFailed(f"Varnish does not answer: see {self.folder / 'log'}")
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """A signal to all its processes."""
        assert self._process is not None, "start() first"
        os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """Returns when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGCONT)  # a stopped one hears nothing
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
