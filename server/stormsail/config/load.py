"""Reading the configuration file. Every mistake is found in one pass: what msgspec would stop at is gone on behind.

In: a path. Out: `Settings`, or all mistakes, each with file, key and, for an unknown key, the nearest known one.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec

from stormsail.domain.address import normal_domain
from stormsail.domain.errors import BadAddress, ConfigError

from .settings import Settings, parse_listener


class Checked(msgspec.Struct, frozen=True):
    """The outcome of looking at a file: the settings where there is no mistake, else the mistakes."""

    path: Path
    settings: Settings | None
    mistakes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def load_settings(path: Path) -> Settings:
    """The settings in `path`. Raises ConfigError with all mistakes, a line each."""
    checked = check_settings(path)
    if checked.settings is None:
        raise ConfigError("\n".join(checked.mistakes))
    return checked.settings


def check_settings(path: Path) -> Checked:
    """Everything that is wrong with the file."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Checked(path, None, (f"{path}: there is no such file",))
    except (OSError, UnicodeDecodeError) as error:
        return Checked(path, None, (f"{path}: cannot be read: {error}",))
    except tomllib.TOMLDecodeError as error:
        return Checked(path, None, (f"{path}: not TOML: {error}",))
    mistakes = _check_table(Settings, raw, "")
    if mistakes:
        return Checked(path, None, tuple(f"{path}: {mistake}" for mistake in mistakes))
    settings = msgspec.convert(raw, Settings)
    mistakes = _check_meaning(settings, path.parent)
    if mistakes:
        return Checked(path, None, tuple(f"{path}: {mistake}" for mistake in mistakes))
    return Checked(path, settings, (), tuple(f"{path}: {warning}" for warning in _warn_of_unbuilt(settings)))


def _check_table(kind: type[msgspec.Struct], raw: dict[str, Any], prefix: str) -> list[str]:
    mistakes: list[str] = []
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, value in raw.items():
        if key not in fields:
            mistakes.append(_unknown(prefix + key, key, list(fields)))
        else:
            mistakes += _check_value(fields[key].type, value, prefix + key)
    mistakes += [f"{prefix}{name}: is missing" for name, field in fields.items() if field.required and name not in raw]
    return mistakes


def _check_value(kind: Any, value: Any, key: str) -> list[str]:
    table = _table_in(kind)
    if table is not None and isinstance(value, dict):
        return _check_table(table, value, key + ".")
    if table is not None and isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [
            mistake for number, item in enumerate(value) for mistake in _check_table(table, item, f"{key}[{number}].")
        ]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [f"{key}: {error}".replace(" - at `$", " at `").replace("`$", "`")]
    return []


def _table_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct inside `T`, `T | None` or `list[T]`."""
    for candidate in (kind, *get_args(kind)):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate
    return None


def _unknown(key: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return f"{key}: there is no such key, {hint}"


def _check_meaning(settings: Settings, base: Path) -> list[str]:
    """What types cannot say."""
    return [
        *_check_addresses(settings),
        *_check_primaries(settings),
        *_check_domains(settings),
        *_check_files(settings, base),
        *_check_unbuilt(settings),
    ]


def _check_addresses(settings: Settings) -> list[str]:
    mistakes = []
    places: list[tuple[str, str]] = []
    for name, texts in msgspec.structs.asdict(settings.listen).items():
        places += [(f"listen.{name}[{number}]", text) for number, text in enumerate(texts)]
    for number, primary in enumerate(settings.primary):
        places += [(f"primary[{number}].next_hops[{at}]", text) for at, text in enumerate(primary.next_hops)]
    if settings.delivery.smarthost is not None:
        places.append(("delivery.smarthost", settings.delivery.smarthost))
    for key, text in places:
        try:
            parse_listener(text)
        except ConfigError as error:
            mistakes.append(f"{key}: {error.sentence}")
    if settings.delivery.route == "smarthost" and settings.delivery.smarthost is None:
        mistakes.append('delivery.smarthost: is missing, and delivery.route is "smarthost"')
    for number, text in enumerate(settings.listen.imap):
        if not text.startswith(("127.", "[::1]", "localhost")):
            mistakes.append(f"listen.imap[{number}]: clear text is for loopback only, not {text}")
    for number, text in enumerate(settings.http.trusted_proxies):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            mistakes.append(f"http.trusted_proxies[{number}]: {error}")
    return mistakes


def _check_primaries(settings: Settings) -> list[str]:
    mistakes = []
    names: set[str] = set()
    for number, primary in enumerate(settings.primary):
        if primary.name in names:
            mistakes.append(f"primary[{number}].name: there are two primaries called {primary.name}")
        names.add(primary.name)
        for at, text in enumerate(primary.connector_networks):
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                mistakes.append(f"primary[{number}].connector_networks[{at}]: {error}")
        if primary.connector_trust == "shared" and primary.connector_networks and primary.connector_mark is None:
            mistakes.append(
                f"primary[{number}].connector_mark: is missing; a shared network needs the tenant's mark, "
                'or say connector_trust = "dedicated"'
            )
    return mistakes


def _check_domains(settings: Settings) -> list[str]:
    mistakes = []
    primaries = [primary.name for primary in settings.primary]
    seen: set[str] = set()
    for number, domain in enumerate(settings.domain):
        if domain.primary not in primaries:
            near = difflib.get_close_matches(domain.primary, primaries, 1, 0.5)
            hint = f", did you mean {near[0]}?" if near else ""
            mistakes.append(f"domain[{number}].primary: there is no primary {domain.primary!r}{hint}")
        try:
            name = normal_domain(domain.name)
        except BadAddress as error:
            mistakes.append(f"domain[{number}].name: {error.sentence}")
            continue
        if name in seen:
            mistakes.append(f"domain[{number}].name: {domain.name} is named twice")
        seen.add(name)
    return mistakes


def _check_files(settings: Settings, base: Path) -> list[str]:
    places = []
    if settings.tls is not None:
        places = [("tls.certificate", settings.tls.certificate), ("tls.key", settings.tls.key)]
    if settings.directory.mailboxes is not None:
        places.append(("directory.mailboxes", settings.directory.mailboxes))
    places += [
        (f"primary[{number}].tls_ca", primary.tls_ca)
        for number, primary in enumerate(settings.primary)
        if primary.tls_ca is not None
    ]
    return [f"{key}: there is no file {base / name}" for key, name in places if not (base / name).is_file()]


def _check_unbuilt(settings: Settings) -> list[str]:
    """A store that this version cannot use is refused: mail would go somewhere else than asked."""
    mistakes = []
    if settings.store.database != "sqlite":
        mistakes.append('store.database: this version knows only "sqlite"')
    if settings.store.bodies != "files":
        mistakes.append('store.bodies: this version knows only "files"')
    return mistakes


def _warn_of_unbuilt(settings: Settings) -> list[str]:
    """What is named for later versions and has no effect in this one."""
    warnings = []
    if settings.filter.rspamd is not None:
        warnings.append("filter.rspamd: this version has no filter yet; mail passes unfiltered")
    for name in ("submission", "submissions", "imaps", "imap"):
        if getattr(settings.listen, name):
            warnings.append(f"listen.{name}: this version has no such listener yet; the port stays closed")
    return warnings
