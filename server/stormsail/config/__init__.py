"""The configuration file: typed settings, every mistake named with file and key, secrets by reference."""

from .load import Checked, check_settings, load_settings
from .settings import (
    DeliverySettings,
    DomainSettings,
    LimitSettings,
    Listener,
    PrimarySettings,
    Secret,
    Settings,
    TlsMode,
    UnknownRecipients,
)

__all__ = [
    "Checked",
    "DeliverySettings",
    "DomainSettings",
    "LimitSettings",
    "Listener",
    "PrimarySettings",
    "Secret",
    "Settings",
    "TlsMode",
    "UnknownRecipients",
    "check_settings",
    "load_settings",
]
