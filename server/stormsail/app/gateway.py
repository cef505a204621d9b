"""The gateway: every part built and put together, started in order, stopped in the opposite one.

In: settings and the ownership of the data directory. Out: open doors; a reload on request. What a part needs of one
that is built later is handed to it as a callable.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from stormsail.accounts import Accounts
from stormsail.clock import SteadyClock
from stormsail.config import PrimarySettings, Settings, check_settings
from stormsail.config.settings import parse_listener
from stormsail.continuity import Continuity, ContinuityParts
from stormsail.delivery import DeliveryParts, DeliveryQueue
from stormsail.delivery.hops import Hops
from stormsail.delivery.notices import Notices
from stormsail.delivery.runner import Runner
from stormsail.delivery.settle import Settlement, SettleParts
from stormsail.directory import Directory, DirectorySnapshot, DomainRule, inherited
from stormsail.domain.errors import ConfigError, StormsailError
from stormsail.domain.ids import first_id_at
from stormsail.domain.routing import Direction, primary_lane
from stormsail.http import ApiParts, HttpServer, StreamHub, make_http_app
from stormsail.intake import ConnectorRule, HeaderCheck, Intake, IntakeParts, Recipients, Repeats, Writing
from stormsail.intake.call_out import CallOut
from stormsail.ledger import Acceptance, Ledger, LedgerReader, check_ledger, orphans
from stormsail.ledger.ledger import UNCONFIRMED_KEPT_MS
from stormsail.mailstore import Mailstore
from stormsail.resolver import Resolver
from stormsail.smtpserver import Admission, DataMemory, Door, DoorParts
from stormsail.store import BodyFiles, BodyRef, Ownership

from .changes import domain_rules, needs_restart
from .facts import Facts
from .refused import RefusedMail
from .secret import own_secret
from .sizes import AnnouncedSizes
from .tls import load_certificate, make_context
from .upkeep import Upkeep

log = structlog.get_logger()


class Gateway:
    """All parts of one running gateway."""

    def __init__(
        self, path: Path, settings: Settings, ownership: Ownership, on_fatal: Callable[[StormsailError], None]
    ) -> None:
        self._path = path
        self._base = path.parent
        self.settings = settings
        self.ownership = ownership
        self._on_fatal = on_fatal
        self.data_dir = self._base / settings.server.data_dir
        self.clock = SteadyClock(self.data_dir / "owner.clock")
        self._tls: ssl.SSLContext | None = None
        self._reloading: set[asyncio.Task[list[str]]] = set()
        self._closing_accounts: set[asyncio.Task[None]] = set()
        self._readers: list[LedgerReader] = []

    # ── start ──

    async def start(self) -> str:
        """Builds and opens everything; says where it listens. Raises StormsailError or OSError."""
        self._tls = make_context(self.settings, self._base)
        await self._start_stores()
        await self._build_ways()
        await self.mailstore.start()
        await self.queue.start()
        await self.continuity.start()
        self.upkeep.start()
        return await self._open_doors()

    async def _start_stores(self) -> None:
        clock, settings = self.clock, self.settings
        self._bodies = BodyFiles(self.data_dir / "bodies")
        self.ledger = Ledger(self.data_dir, self._bodies, clock, self._on_fatal)
        for day, file in await asyncio.to_thread(orphans, self.ledger.path, self._bodies):
            log.warning("body_set_aside", file=f"{day}/{file}")
            self._bodies.set_aside(day, file, self.data_dir / "set-aside")
        self.ledger.start(asyncio.get_running_loop())
        self._reader = await self._open_reader()
        self._api_reader = await self._open_reader()
        delimiter = settings.directory.plus_delimiter if settings.directory.plus_addressing else None
        self.directory = Directory(self.data_dir, clock, domain_rules(settings), delimiter)
        await self.directory.start()
        await self._import_at_start(settings)
        self.accounts = Accounts(self.data_dir, clock, self.directory.mailbox_of)
        await self.accounts.start()
        self.hub = StreamHub(clock)
        self.mailstore = Mailstore(
            self.data_dir,
            self.ledger.path,
            self._bodies,
            lambda: self.directory.snapshot,
            clock,
            settings.limits,
            self.hub.copy_changed,
        )

    async def _build_ways(self) -> None:
        """Delivery, intake and continuity, which need each other."""
        clock, ledger, hostname = self.clock, self.ledger, self.settings.server.hostname
        self._sizes = AnnouncedSizes(ledger, self.settings.limits.message_size, await self._reader.primary_facts())
        self._repeats = Repeats(await self._reader.unconfirmed())
        ledger.on_recovered = self._recovered
        ledger.on_recorded = self._recorded
        self._refused = RefusedMail(self.mailstore)
        well = CallOut(self._primaries, self._base, hostname, self._answers_are_believed)
        self._recipients = Recipients(self.directory, clock, well)
        self._connector = ConnectorRule(self.settings.primary)
        self._secret = own_secret(self.data_dir)
        self.intake = Intake(self._intake_parts())
        limits = self.settings.limits
        self.writing = Writing(
            self.intake, self._recipients, clock, hostname, limits.recipients, self._sizes.message_size
        )
        notices = Notices(self.writing, self.directory, self._bodies, clock, hostname)
        settlement = Settlement(
            SettleParts(
                ledger,
                clock,
                random.random,
                notices.notify,
                self._refused.note,
                lambda lane, at_ms: self.queue.note_due(lane, at_ms),
                lambda event_id: any(event.id == event_id for event in self.continuity.coverage.events),
            )
        )
        hops = self._hops()
        parts = DeliveryParts(ledger, await self._open_reader(), clock, self._runner(hops), hops, random.random)
        self.queue = DeliveryQueue(parts, settlement)
        self.continuity = Continuity(
            ContinuityParts(
                ledger,
                await self._open_reader(),
                self.queue,
                self.directory,
                clock,
                self._primaries,
                self.hub.event_changed,
            )
        )
        self.directory.on_change = self._directory_changed
        self._facts = Facts(self)
        self.upkeep = Upkeep(self)

    def _intake_parts(self) -> IntakeParts:
        return IntakeParts(
            hostname=self.settings.server.hostname,
            secret=self._secret,
            data_dir=self.data_dir,
            disk_reserve=self.settings.limits.disk_reserve,
            smarthost=self.settings.delivery.route == "smarthost",
            clock=self.clock,
            ledger=self.ledger,
            reader=self._reader,
            repeats=self._repeats,
            coverage=lambda: self.continuity.coverage,
            start_now=lambda lane, size: self.queue.start_now(lane, size),
            on_accepted=self._accepted,
            is_mailbox=self.directory.mailbox_of,
            connector=self._connector,
        )

    async def _open_doors(self) -> str:
        listen, limits = self.settings.listen, self.settings.limits
        admission = Admission(limits.connections, limits.connections_per_address)
        memory = DataMemory(limits.data_memory)
        self._doors = {
            "mx": self._door(Direction.MX, admission, memory, lambda peer: True),
            "connector": self._door(Direction.CONNECTOR, admission, memory, lambda peer: self._connector.admits(peer)),
        }
        words: list[str] = []
        for name, door in self._doors.items():
            bound = await door.listen([parse_listener(text) for text in getattr(listen, name)])
            words += [f"{name}={where}" for where in bound]
        self._http = HttpServer(make_http_app(self._api_parts()), self.hub)
        group = self.settings.server.operators_group
        await self._http.start([parse_listener(text) for text in listen.http], self.data_dir, group)
        words += [f"http={where}" for where in self._http.addresses]
        return " ".join([*words, f"control={self.data_dir / 'control.sock'}"])

    def _door(
        self, direction: Direction, admission: Admission, memory: DataMemory, admits: Callable[[str], bool]
    ) -> Door:
        marks = self._connector.marks if direction is Direction.CONNECTOR else frozenset()
        return Door(
            DoorParts(
                direction,
                self.settings.server.hostname,
                self.settings.limits,
                admission,
                memory,
                self.intake,
                self._recipients,
                HeaderCheck(self._secret, self.settings.server.hostname, marks),
                self._bodies.spool,
                self._sizes.message_size,
                admits,
                lambda: self._tls,
            )
        )

    def _api_parts(self) -> ApiParts:
        return ApiParts(
            settings=lambda: self.settings,
            clock=self.clock,
            accounts=self.accounts,
            reader=self._api_reader,
            ledger=self.ledger,
            directory=self.directory,
            mailstore=self.mailstore,
            continuity=self.continuity,
            queue=self.queue,
            intake=self.writing,
            hub=self.hub,
            started_at=self.clock.now_ms(),
            own_health=self._facts.own_health,
            ledger_check=self.check_ledger,
            reload=self.reload,
            not_ready=self._facts.not_ready,
            alerts=self._facts.alerts,
        )

    # ── stop ──

    async def stop(self) -> None:
        """Closes the doors first, the stores last; what was begun is ended or given back."""
        await asyncio.gather(*(door.close() for door in getattr(self, "_doors", {}).values()))
        for name in ("_http", "continuity", "queue", "mailstore", "accounts", "directory", "upkeep"):
            part = getattr(self, name, None)
            if part is not None:
                await self._stop_one(name, part.stop())
        for reader in self._readers:
            await reader.close()
        if hasattr(self, "ledger"):
            await self._stop_one("ledger", asyncio.to_thread(self.ledger.stop))

    @staticmethod
    async def _stop_one(name: str, stopping: Awaitable[None]) -> None:
        """What cannot be stopped well must not keep the rest from it."""
        try:
            await stopping
        except Exception:
            log.exception("stop_failed", part=name)

    # ── reload ──

    def reload_soon(self) -> None:
        """SIGHUP."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[list[str]]) -> None:
        self._reloading.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("reload_failed", why=str(error))

    async def reload(self, force: bool = False) -> list[str]:
        """Takes configuration, directory and certificates anew; says what it took, and what needs a restart.

        Raises what is wrong with any of them, and then everything stays as it was; `force` lets the directory's file
        remove many addresses.
        """
        checked = check_settings(self._path)
        if checked.settings is None:
            raise ConfigError("\n".join(checked.mistakes))
        fresh, old = checked.settings, self.settings
        if self._tls is not None:
            load_certificate(self._tls, fresh, self._base)
        await self._reload_directory(fresh, old, force)
        self.settings = fresh
        self._sizes.limit = fresh.limits.message_size
        self._connector.replace(fresh.primary)
        hops = self._hops()
        self.queue.reconfigure(hops, self._runner(hops))
        took = ["configuration", "certificates", "directory"]
        restart = needs_restart(old, fresh)
        log.info("reloaded", took=took, needs_restart=restart)
        return [*took, *(f"{name}: needs a restart" for name in restart)]

    async def _reload_directory(self, fresh: Settings, old: Settings, force: bool) -> None:
        """The directory by the new settings, or as it was."""
        self._use_domains(fresh)
        try:
            await self._import_file(fresh, force)
        except StormsailError:
            self._use_domains(old)
            raise

    def _use_domains(self, settings: Settings) -> None:
        delimiter = settings.directory.plus_delimiter if settings.directory.plus_addressing else None
        self.directory.reconfigure(domain_rules(settings), delimiter)

    async def _import_at_start(self, settings: Settings) -> None:
        """A file that cannot be taken stops the first start; later the directory of yesterday is better than none."""
        try:
            await self._import_file(settings)
        except StormsailError as error:
            if not self.directory.snapshot.entries:
                raise
            log.error("directory_not_imported", why=error.sentence)

    async def _import_file(self, settings: Settings, force: bool = False) -> None:
        name = settings.directory.mailboxes
        if name is None:
            return
        result = await self.directory.import_file(self._base / name, force=force, actor="configuration")
        log.info("directory_imported", entries=result.entries, added=result.added, removed=result.removed)

    def forget_old_repeats(self) -> None:
        """After five days nobody sends an unconfirmed message again (DESIGN §3.3); the ledger forgets it in `prune`."""
        self._repeats.forget_before(first_id_at(self.clock.now_ms() - UNCONFIRMED_KEPT_MS))

    # ── what parts ask of each other ──

    def _directory_changed(self, old: DirectorySnapshot, new: DirectorySnapshot) -> None:
        self.continuity.directory_changed(old, new)
        for address in inherited(old, new):
            task = asyncio.get_running_loop().create_task(self._close_account(address))
            self._closing_accounts.add(task)
            task.add_done_callback(self._closing_accounts.discard)

    async def _close_account(self, address: str) -> None:
        """Who left must not read the mail of the mailbox that has inherited the address."""
        try:
            if await self.accounts.find(address) is not None:
                await self.accounts.disable(address, "directory")
                log.warning("account_closed", address=address, why="its address belongs to another mailbox now")
        except (StormsailError, OSError) as error:
            log.error("account_not_closed", address=address, why=str(error))

    def _accepted(self, acceptance: Acceptance, content: bytes | None, body: BodyRef) -> None:
        self.queue.accepted(acceptance, content, body)
        self.mailstore.note_accept()

    def _recorded(self, acceptances: list[Acceptance]) -> None:
        for acceptance in acceptances:
            self.queue.recorded(acceptance)
        self.mailstore.wake()

    def _recovered(self, unconfirmed: list[tuple[bytes, int]]) -> None:
        self._repeats.reload(unconfirmed)
        self.mailstore.wake()
        self.queue.look_again_soon()
        self.continuity.look_again()

    def _answers_are_believed(self, rule: DomainRule) -> bool:
        """Whether a primary's word on a recipient counts: outside any event, and while its lane is sound."""
        lane = primary_lane(rule.primary)
        sound = all(status.breaker == "closed" for status in self.queue.lanes() if status.name == lane)
        return sound and not self.continuity.open_events

    def _primaries(self) -> list[PrimarySettings]:
        return self.settings.primary

    def _hops(self) -> Hops:
        delivery = self.settings.delivery
        domains = {rule.name: rule.primary for rule in domain_rules(self.settings)}
        return Hops(self.settings.primary, domains, delivery, self._base, Resolver(delivery.resolvers))

    def _runner(self, hops: Hops) -> Runner:
        return Runner(
            self.settings.server.hostname,
            self._bodies,
            hops,
            self.ledger,
            self.ownership,
            lambda: self.continuity.coverage,
            self._sizes.note,
        )

    async def _open_reader(self) -> LedgerReader:
        reader = await LedgerReader.open(self.ledger.path)
        self._readers.append(reader)
        return reader

    async def check_ledger(self) -> list[str]:
        """Differences between ledger and body files."""
        return await asyncio.to_thread(check_ledger, self.ledger.path, self._bodies)
