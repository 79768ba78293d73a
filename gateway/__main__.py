"""``python -m gateway``: serve HTTP with the settings of the environment."""

import sys

from gateway.serve import run
from runtime.settings import Settings, SettingsError

if __name__ == "__main__":
    try:
        run(Settings.from_env())
    except SettingsError as error:
        sys.exit(f"gateway: {error}")
