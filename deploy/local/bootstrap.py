"""Set up whatever is missing, then do what was asked: `python3 deploy/local/bootstrap.py VERB`.

Runs before anything is installed: standard library only, and this file in a syntax that old Pythons read, so that they
can be told what is wrong.  Verbs: setup, demo, test, test-vllm, up, down, status, check, bench, chaos, chaos-short,
logs, clean.
"""

# ruff: noqa: PTH100, PTH120, PTH123, UP031, RUF005 -- every Python that may be there must be able to read this file
import os
import subprocess
import sys

_CANDIDATES = ("python3.13", "python3.12", "python3.11")
_SUITS = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))"


def _suits(python):  # type: ignore[no-untyped-def]  # annotations are a syntax error for the Pythons this is for
    try:
        with open(os.devnull, "w") as nothing:
            return subprocess.call([python, "-c", _SUITS], stdout=nothing, stderr=nothing) == 0
    except OSError:
        return False


def _begin():  # type: ignore[no-untyped-def]
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        for python in _CANDIDATES:
            if _suits(python):  # type: ignore[no-untyped-call]
                os.execvp(python, [python] + sys.argv)
        sys.stderr.write(
            "Freshet needs Python 3.11, 3.12 or 3.13; this is %d.%d and no other was found. "
            "Install one and name it: make PYTHON=/path/to/python3.12\n" % sys.version_info[:2]
        )
        return 2
    if sys.platform == "win32":
        sys.stderr.write("Freshet's local stack runs on Linux and macOS; on Windows use it inside WSL.\n")
        return 2
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.dont_write_bytecode = True  # a fresh checkout stays clean
    from deploy.local.verbs import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_begin())  # type: ignore[no-untyped-call]
