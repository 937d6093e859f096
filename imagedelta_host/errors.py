"""What can be wrong with an app, its settings or the place where the host keeps its state."""

from __future__ import annotations

from imagedelta.errors import ImageDeltaError


class HostError(ImageDeltaError):
    """The host cannot start or go on; the message names the file, function or setting."""

    code = "host.start"


class AppInvalid(HostError):
    """function_app.py is missing, fails to import, or declares functions that cannot be indexed."""

    code = "host.app_invalid"


class BindingUnsupported(HostError):
    """A function uses a trigger or binding that this host does not serve."""

    code = "host.binding_unsupported"


class SettingInvalid(HostError):
    """host.json, local.settings.json or an environment setting is missing or cannot be read."""

    code = "host.setting_invalid"


class StateDamaged(HostError):
    """A file of the state folder is lost or is not what the host left there; nothing was changed."""

    code = "host.state_damaged"


class StateInUse(HostError):
    """Another live host holds the same state folder."""

    code = "host.state_in_use"
