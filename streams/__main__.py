"""`python -m streams STAGE`: one worker, without the rest of the command line: up half a second sooner."""

import sys

from runtime.settings import Settings, SettingsError
from streams.worker import run

if __name__ == "__main__":
    try:
        run(sys.argv[1], Settings.from_env())
    except SettingsError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
