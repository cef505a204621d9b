"""The whole demo: files written, gateway and sandbox primary started as processes, accounts made, people set to work.

In: a folder, whether anybody watches. Out: exit code 0 after Ctrl-C or SIGTERM, 1 where a part did not start or ended
by itself. Everything that was started is ended.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from stormsail.domain.errors import StormsailError, TemporaryError
from stormsail.domain.roles import Role

from .console import Console, Tone
from .correspondents import Correspondents, Pace
from .gateway_line import GatewayLine
from .layout import DEFAULT_FOLDER, Layout
from .outside import Outside, Sender
from .people import COMPANY, OPERATOR, OPERATOR_PASSWORD, PEOPLE, SEGMENTS, STAFF_PASSWORD
from .processes import Child, start_child
from .running import Ports
from .scoreboard import Scoreboard
from .shell import commands_for, from_here
from .situation import Commands
from .story import Story

CANCEL_AGAIN_S = 1.0
OVERVIEW = """
{company}, a company of {people} people in {segments}, with a mail system of its own:
the sandbox primary. Stormsail stands in front of it. Everything runs on this machine, in
{folder}.

  people            no page to sign in to yet; programs sign in at http://127.0.0.1:{ports.http}/api/v1
                    as {person} / {password} (README.md: with curl)
  operator          the command line with --config, as below, without a password; programs at the
                    same address as {operator} / {operator_password}
  mail in (MX)      127.0.0.1:{ports.mx}; connector of the primary 127.0.0.1:{ports.connector}
  sandbox primary   SMTP 127.0.0.1:{ports.primary_smtp}, submission 127.0.0.1:{ports.primary_submission}, \
IMAP 127.0.0.1:{ports.primary_imap};
                    same people, same password
  look into it      neomutt -e 'set ssl_force_tls=no' \\
                      -f imap://{user}@127.0.0.1:{ports.primary_imap}/
  logs              gateway.log and primary.log in that folder

  From a second shell in this folder:
    {status}
    {break_all}
  Ctrl-C ends everything.

"""
GOES_ON = "Goes on with the data of {folder}, events and held mail among it; rm -r {folder} begins anew."


def run_demo(directory: Path | None, headless: bool, pace: Pace | None = None) -> int:
    """Runs until it is interrupted; `pace` is for tests that are in a hurry."""
    return asyncio.run(_run(Layout(directory or Path(DEFAULT_FOLDER)), Console(plain=headless), pace or Pace()))


async def _run(layout: Layout, console: Console, pace: Pace) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        try:
            await _play(layout, console, pace, stopping, stack)
        except StormsailError as error:
            console.show(error.sentence, Tone.TROUBLE)
            return 1
        finally:
            console.show("Ending.", Tone.COUNT)
    return 0


async def _play(layout: Layout, console: Console, pace: Pace, stopping: asyncio.Event, stack: AsyncExitStack) -> None:
    ports = layout.take()
    stack.callback(layout.leave)
    commands = commands_for(layout)
    if layout.goes_on:
        console.show(GOES_ON.format(folder=from_here(layout.folder)), Tone.HINT)
    console.show("Starting the sandbox primary and the gateway …", Tone.COUNT)
    children = await _start_children(layout, stack)
    line = GatewayLine(layout.data_dir / "control.sock", ports.http)
    stack.push_async_callback(line.close)
    await _make_accounts(line, children[-1])
    console.show(_overview(layout, ports, commands))
    scoreboard = Scoreboard(layout.mail)
    sender = Sender(ports.mx, lambda letter, why: console.say(f"{letter.author.name} is told: {why}", Tone.TROUBLE))
    story = Story(layout.mail, line, sender, scoreboard, console, commands)
    people = Correspondents(
        sender,
        line,
        ports.primary_submission,
        lambda: story.situation,
        scoreboard,
        console,
        pace,
        random.Random(),
    )
    outside = Outside(ports.outside, people.arrived_outside)
    await outside.open()
    stack.callback(outside.close)
    console.show(
        f"ready gateway=http://127.0.0.1:{ports.http} config={layout.config} pid={os.getpid()}\n\n", Tone.COUNT
    )
    await _until_stopped(stopping, children, [story.run(), *people.work()])


async def _start_children(layout: Layout, stack: AsyncExitStack) -> list[Child]:
    """The primary first, so that the gateway never sees it absent."""
    children = []
    for name, arguments in (
        ("primary", ["-m", "stormsail.demo.primary", str(layout.primary_settings)]),
        ("gateway", ["-m", "stormsail.cli", "serve", "--config", str(layout.config)]),
    ):
        child = await start_child(name, arguments, layout.folder / f"{name}.log")
        stack.push_async_callback(child.stop)
        await child.wait_ready()
        children.append(child)
    return children


async def _make_accounts(line: GatewayLine, gateway: Child) -> None:
    """An account for everybody. Raises TemporaryError where the gateway does not answer."""
    staff = [line.add_account(person.address, person.name, Role.STAFF, STAFF_PASSWORD) for person in PEOPLE]
    try:
        await asyncio.gather(line.add_account(OPERATOR, "Operator", Role.OPERATOR, OPERATOR_PASSWORD), *staff)
    except httpx.HTTPError as error:
        raise TemporaryError(
            f"The gateway does not answer ({error}); the end of {gateway.log}:\n{gateway.tail()}"
        ) from error


async def _until_stopped(
    stopping: asyncio.Event, children: list[Child], work: Sequence[Coroutine[None, None, None]]
) -> None:
    """Works until somebody stops the demo. Raises TemporaryError where a child ends by itself."""
    asked = asyncio.ensure_future(stopping.wait())
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait([asked, *tasks, *(child.ended for child in children)], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        for child in children:
            if child.ended.done():
                raise TemporaryError(f"The {child.name} has ended by itself; the end of {child.log}:\n{child.tail()}")
    finally:
        await _cancel([asked, *tasks])


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Until they have ended: `asyncio.wait_for`, which the mail client uses, may lose one request to cancel."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)


def _overview(layout: Layout, ports: Ports, commands: Commands) -> str:
    person = PEOPLE[0].address
    return OVERVIEW.format(
        company=COMPANY,
        people=len(PEOPLE),
        segments=", ".join(SEGMENTS),
        folder=from_here(layout.folder),
        ports=ports,
        person=person,
        user=person.replace("@", "%40"),
        password=STAFF_PASSWORD,
        operator=OPERATOR,
        operator_password=OPERATOR_PASSWORD,
        status=commands.gateway("status"),
        break_all=commands.demo("break all"),
    )
