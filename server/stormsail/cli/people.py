"""`stormsail account …`, `mailbox …`, `audit`."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from cyclopts import App

from stormsail.domain.errors import BadRequest
from stormsail.domain.roles import Role
from stormsail.wire import (
    Account,
    AccountList,
    AccountRequest,
    AuditPage,
    DirectoryPage,
    ImportAnswer,
    ImportRequest,
    LearntList,
    PasswordRequest,
    RoleRequest,
)

from .link import Answered, open_link
from .options import DEFAULTS, Flag, Options
from .present import ago, plural, print_json, print_out, safe, table, warn


def add_people_commands(app: App) -> None:
    """Adds these commands."""
    account = App(name="account", help="People who sign in here.")
    for name, command in (("add", add), ("list", accounts), ("disable", disable), ("enable", enable)):
        account.command(command, name=name)
    account.command(password)
    account.command(role)
    mailbox = App(name="mailbox", help="The directory: mailboxes, shared addresses, groups.")
    mailbox.command(import_file, name="import")
    mailbox.command(mailboxes, name="list")
    mailbox.command(learnt)
    app.command(account)
    app.command(mailbox)
    app.command(audit)


def add(
    address: str,
    *,
    role: Role,
    name: str = "",
    password_stdin: Annotated[bool, Flag] = False,
    options: Options = DEFAULTS,
) -> int:
    """Adds an account; staff own the mailbox of their address. Without a password it cannot sign in yet."""
    given = _ask_password(password_stdin, optional=True)
    with open_link(options.data_dir()) as link:
        answer = link.post("/accounts", AccountRequest(address=address, role=role, password=given, name=name))
    return _say_account(answer, options, "was added")


def accounts(options: Options = DEFAULTS) -> int:
    """Everybody who can or could sign in here."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/accounts")
    if options.json:
        print_json(answer)
        return 0
    rows = [
        (one.address, one.name, one.role, _condition(one), ago(one.last_sign_in_at), ago(one.created_at))
        for one in answer.read(AccountList).accounts
    ]
    head = ("ADDRESS", "NAME", "ROLE", "STATE", "LAST SIGN-IN", "ADDED")
    print_out(*(table(head, rows) or ["There is no account yet: stormsail account add ADDRESS --role ROLE"]))
    return 0


def disable(address: str, options: Options = DEFAULTS) -> int:
    """Closes an account at once; its sessions end."""
    return _change(address, "disable", options, "is disabled")


def enable(address: str, options: Options = DEFAULTS) -> int:
    """Opens a disabled account again."""
    return _change(address, "enable", options, "is open again")


def password(address: str, *, password_stdin: Annotated[bool, Flag] = False, options: Options = DEFAULTS) -> int:
    """Sets an account's password; its sessions end."""
    given = _ask_password(password_stdin, optional=False)
    if given is None:
        warn("No password was given")
        return 1
    with open_link(options.data_dir()) as link:
        answer = link.put(f"/accounts/{quote(address, safe='')}/password", PasswordRequest(password=given))
    return _say_account(answer, options, "has a new password")


def role(address: str, role: Role, options: Options = DEFAULTS) -> int:
    """Gives an account another role."""
    with open_link(options.data_dir()) as link:
        answer = link.put(f"/accounts/{quote(address, safe='')}/role", RoleRequest(role=role))
    return _say_account(answer, options, f"is {role} now")


def import_file(file: Path, *, force: Annotated[bool, Flag] = False, options: Options = DEFAULTS) -> int:
    """Imports a CSV file: address,name,segment,kind,aliases,members. --force where many addresses would go."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {error}") from error
    with open_link(options.data_dir()) as link:
        answer = link.post("/directory/import", ImportRequest(csv=text, force=force, source=file.name[:300]))
    if options.json:
        print_json(answer)
        return 0
    done = answer.read(ImportAnswer)
    print_out(
        f"{plural(done.entries, 'entry', 'entries')} imported: {done.added} added, {done.changed} changed,"
        f" {done.removed} removed"
    )
    for line in done.warnings:
        warn(line)
    return 0


def mailboxes(
    query: str = "",
    *,
    segment: str | None = None,
    kind: str | None = None,
    limit: int = 200,
    after: str = "",
    options: Options = DEFAULTS,
) -> int:
    """Who is in the directory; QUERY narrows by address, alias or name."""
    words = {"q": query, "segment": segment, "kind": kind, "limit": limit, "after": after}
    with open_link(options.data_dir()) as link:
        answer = link.get("/directory", words)
    if options.json:
        print_json(answer)
        return 0
    page = answer.read(DirectoryPage)
    rows = [
        (one.address, one.name, one.kind, one.segment, " ".join(one.aliases), " ".join(one.members))
        for one in page.entries
    ]
    head = ("ADDRESS", "NAME", "KIND", "SEGMENT", "ALIASES", "MEMBERS")
    print_out(*(table(head, rows) or ["Nobody matches"]))
    if page.next is not None:
        print_out(f"There are more, the next ones with --after {safe(page.next)}")
    return 0


def learnt(options: Options = DEFAULTS) -> int:
    """Addresses that the primary takes though the directory does not list them."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/directory/learnt")
    if options.json:
        print_json(answer)
        return 0
    rows = [(one.address, ago(one.at)) for one in answer.read(LearntList).addresses]
    print_out(*(table(("ADDRESS", "LAST TAKEN"), rows) or ["Nothing was learnt from the primary"]))
    return 0


def audit(*, limit: int = 50, before: int | None = None, options: Options = DEFAULTS) -> int:
    """Who did what, the newest first."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/audit", {"limit": limit, "before": before})
    if options.json:
        print_json(answer)
        return 0
    rows = [
        (one.id, ago(one.at), one.actor, one.action, one.target, one.detail) for one in answer.read(AuditPage).entries
    ]
    print_out(*(table(("NO", "AT", "WHO", "WHAT", "TARGET", "DETAIL"), rows) or ["Nothing was done yet"]))
    return 0


def _change(address: str, change: str, options: Options, what: str) -> int:
    with open_link(options.data_dir()) as link:
        answer = link.post(f"/accounts/{quote(address, safe='')}/{change}")
    return _say_account(answer, options, what)


def _say_account(answer: Answered, options: Options, what: str) -> int:
    if options.json:
        print_json(answer)
    else:
        account = answer.read(Account)
        print_out(f"{safe(account.address)} ({account.role}) {what}")
    return 0


def _condition(account: Account) -> str:
    if account.disabled_at is not None:
        return "disabled"
    return "open" if account.has_password else "no password"


def _ask_password(from_stdin: bool, *, optional: bool) -> str | None:
    """A password from the first line of stdin, or typed twice at a terminal; None where none is given."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n") or None
    if not sys.stdin.isatty():
        return None
    first = getpass.getpass("Password (empty: none yet): " if optional else "Password: ")
    if first and getpass.getpass("The same again: ") != first:
        raise BadRequest("The two passwords differ")
    return first or None
