"""What all branches of the settings share."""

from pydantic import BaseModel, ConfigDict

PREFIX = "FRESHET_"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable."""


class Branch(BaseModel):
    """Some settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")
