"""Continuity events: activated and ended in each state of the primary, overlapping, with people who move."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stormsail.domain.replies import Stage
from testkit.gateway import DIRECTORY, Gateway, message, running_gateway
from testkit.next_hop import NextHop
from testkit.scripted_smtp import Behaviour
from testkit.waiting import wait_until

SICK = Behaviour(on={Stage.MAIL: "451 4.3.2 not now"})


def activate(gateway: Gateway, scope: str) -> str:
    return str(gateway.cli_json("activate", "--scope", scope, "--reason", "test")["id"])


def end(gateway: Gateway, event: str, *words: str) -> None:
    done = gateway.cli("end", event, *words)
    assert done.returncode == 0, done.stderr.decode()


def wait_until_closed(gateway: Gateway, patience_s: float = 30) -> None:
    wait_until(lambda: not gateway.status()["events"], "the event to close", patience_s, gateway.log)


def subjects(hop: NextHop) -> list[str]:
    return [line[9:].decode() for one in hop.taken for line in one.content.split(b"\r\n") if line[:9] == b"Subject: "]


def report(gateway: Gateway, event: str) -> Any:
    return gateway.cli_json("report", event)


@pytest.mark.parametrize("state", ["healthy", "refusing", "dead"])
def test_an_event_holds_mail_whatever_the_primary_does_and_hands_it_back_in_order(
    gateway: Gateway, primary: NextHop, state: str
) -> None:
    if state == "refusing":
        primary.behave(SICK)
    if state == "dead":
        primary.refuse()
    event = activate(gateway, "all")
    for number in range(6):
        gateway.send("ann@example.com", message(f"m{number}"))
        gateway.send("carl@example.com", message(f"c{number}"))
    gateway.wait_for(held=12)
    assert not primary.messages
    with gateway.as_person(gateway.add_account("ann@example.com")) as ann:
        wait_until(
            lambda: len(ann.get("/mailboxes/ann@example.com/messages").json()["messages"]) == 6, "copies to read"
        )
    if state != "healthy":
        refused = gateway.cli("end", event)
        assert refused.returncode == 1
        assert b"does not take mail yet" in refused.stderr
        gateway.wait_for(held=12)
    primary.behave()
    if state == "dead":
        primary.listen()
    end(gateway, event)
    primary.wait_for(12)
    wait_until_closed(gateway)
    ours = subjects(primary)
    assert [one for one in ours if one[0] == "m"] == [f"m{number}" for number in range(6)]
    assert [one for one in ours if one[0] == "c"] == [f"c{number}" for number in range(6)]
    assert all(one.content.startswith(b"X-Auto-Response-Suppress: OOF, AutoReply\r\n") for one in primary.taken)
    balance = report(gateway, event)
    assert balance["balanced"]
    assert (balance["balance"]["came_in"], balance["balance"]["handed_back"]) == (12, 12)
    gateway.assert_sound()


def test_mail_that_was_queued_when_the_outage_began_is_held_when_its_turn_comes(
    gateway: Gateway, primary: NextHop
) -> None:
    primary.behave(SICK)
    for number in range(4):
        gateway.send("ann@example.com", message(f"m{number}"))
    wait_until(lambda: gateway.totals().get("deferred", 0) > 0, "deferrals")
    activate(gateway, "segment:leeds")
    gateway.wait_for(held=4)


def test_an_attempt_past_data_runs_to_its_reply_and_one_before_mail_is_held(gateway: Gateway, primary: NextHop) -> None:
    primary.pause_at(Stage.DOT)
    gateway.send("ann@example.com", message("in flight"))
    wait_until(lambda: primary.server.arrivals.get(Stage.DOT, 0) == 1, "the dot")
    activate(gateway, "all")
    gateway.send("ann@example.com", message("after"))
    primary.resume(Stage.DOT)
    gateway.wait_for(relayed=1, held=1)
    assert subjects(primary) == ["in flight"]


def test_only_the_scope_is_held_and_everybody_else_goes_on(gateway: Gateway, primary: NextHop) -> None:
    activate(gateway, "segment:leeds")
    activate(gateway, "mailbox:dora@example.com")
    gateway.send(["ann@example.com", "carl@example.com", "dora@example.com"], message("three"))
    gateway.wait_for(held=2, relayed=1)
    assert primary.server.recipients == ["carl@example.com"]


def test_where_events_overlap_mail_leaves_only_when_none_covers_it(gateway: Gateway, primary: NextHop) -> None:
    everybody = activate(gateway, "domain:example.com")
    leeds = activate(gateway, "segment:leeds")
    gateway.send("ann@example.com", message("a"))
    gateway.send("carl@example.com", message("c"))
    gateway.wait_for(held=2)
    end(gateway, everybody)
    gateway.wait_for(held=1, relayed=1)
    assert subjects(primary) == ["c"]
    wait_until(lambda: [one["id"] for one in gateway.status()["events"]] == [leeds], "the wider event to close")
    end(gateway, leeds)
    gateway.wait_for(relayed=2)
    wait_until_closed(gateway)
    first = report(gateway, everybody)
    assert (first["balance"]["came_in"], first["balance"]["handed_back"], first["balanced"]) == (2, 2, True)
    gateway.assert_sound()


def test_moving_somebody_out_of_a_segment_releases_nothing(gateway: Gateway, primary: NextHop) -> None:
    event = activate(gateway, "segment:leeds")
    gateway.send("ann@example.com", message("before"))
    gateway.wait_for(held=1)
    moved = DIRECTORY.replace("Ann Lee,leeds", "Ann Lee,london").replace("Bob Fox,leeds", "Bob Fox,london")
    (gateway.folder / "mailboxes.csv").write_text(moved)
    assert gateway.cli("reload").returncode == 0
    gateway.send("ann@example.com", message("after"))
    gateway.send("bob@example.com", message("free"))
    gateway.wait_for(held=2, relayed=1)
    assert subjects(primary) == ["free"]
    end(gateway, event)
    gateway.wait_for(relayed=3)
    assert subjects(primary) == ["free", "before", "after"]


def test_newcomers_are_covered_from_the_next_import(gateway: Gateway, primary: NextHop) -> None:
    activate(gateway, "segment:leeds")
    (gateway.folder / "mailboxes.csv").write_text(DIRECTORY + "eve@example.com,Eve,leeds,mailbox,,\n")
    assert gateway.cli("reload").returncode == 0
    gateway.send("eve@example.com", message("welcome"))
    gateway.wait_for(held=1)
    assert not primary.messages


def test_an_import_that_would_remove_half_of_the_company_needs_force(gateway: Gateway) -> None:
    half = "\n".join(DIRECTORY.splitlines()[:4]) + "\n"
    (gateway.folder / "mailboxes.csv").write_text(half)
    refused = gateway.cli("reload")
    assert refused.returncode == 1
    assert b"--force" in refused.stderr
    assert gateway.status()["directory"]["mailboxes"] == 5
    assert gateway.send("dora@example.com", message())[:3] == "250"


def test_a_primary_that_falls_ill_again_during_the_drain_makes_the_event_active_again(
    gateway: Gateway, primary: NextHop
) -> None:
    event = activate(gateway, "all")
    for number in range(30):
        gateway.send("ann@example.com" if number % 2 else "carl@example.com", message(f"m{number}"))
    gateway.wait_for(held=30)
    primary.behave(Behaviour(on={Stage.DOT: ["250 ok"] * 6 + ["451 4.3.2 not now"]}))
    end(gateway, event)
    wait_until(
        lambda: (
            [one["state"] for one in gateway.status()["events"]] == ["active"]
            and any(entry["kind"] == "relapsed" for entry in report(gateway, event)["timeline"])
        ),
        "the relapse",
        detail=gateway.log,
    )
    wait_until(lambda: set(gateway.totals()) == {"held", "relayed"}, "everything on hold again", 30)
    primary.behave()
    end(gateway, event)
    wait_until_closed(gateway)
    gateway.wait_for(relayed=30)
    assert sorted(set(subjects(primary))) == sorted(f"m{number}" for number in range(30))
    assert len(primary.taken) == 30
    gateway.assert_sound()


def open_the_breaker(gateway: Gateway, primary: NextHop) -> None:
    """Mail that no event covers meets a sick primary, again and again."""
    primary.behave(SICK)
    for number in range(12):
        gateway.send("carl@example.com", message(f"c{number}"))
    wait_until(lambda: open_breakers(gateway), "an open breaker", detail=gateway.log)


def open_breakers(gateway: Gateway) -> list[str]:
    return [lane["name"] for lane in gateway.api("GET", "/queue/lanes")["lanes"] if lane["breaker"] == "open"]


def test_an_end_asks_the_primary_at_once_though_the_breaker_is_open(gateway: Gateway, primary: NextHop) -> None:
    event = activate(gateway, "segment:leeds")
    gateway.send("ann@example.com", message("held"))
    gateway.wait_for(held=1)
    open_the_breaker(gateway, primary)
    began = time.monotonic()
    assert b"does not take mail yet" in gateway.cli("end", event).stderr
    primary.behave()
    end(gateway, event)
    assert time.monotonic() - began < 4
    gateway.wait_for(relayed=13, patience_s=60)
    wait_until_closed(gateway)


def test_a_drain_relapses_also_where_new_mail_keeps_the_breaker_open(gateway: Gateway, primary: NextHop) -> None:
    event = activate(gateway, "segment:leeds")
    for number in range(4):
        gateway.send("ann@example.com", message(f"m{number}"))
    gateway.wait_for(held=4)
    open_the_breaker(gateway, primary)
    end(gateway, event, "--force")
    wait_until(lambda: gateway.status()["events"][0]["state"] == "active", "the relapse", 60, gateway.log)
    assert not primary.taken


def test_a_test_that_fails_after_an_end_by_force_leaves_nothing_on_hold(gateway: Gateway, primary: NextHop) -> None:
    event = activate(gateway, "all")
    gateway.send("ann@example.com", message("tried first"))
    gateway.wait_for(held=1)
    primary.behave(SICK)
    primary.pause_at(Stage.MAIL)
    with ThreadPoolExecutor(1) as beside:
        first = beside.submit(gateway.cli, "end", event)
        wait_until(lambda: primary.server.arrivals.get(Stage.MAIL, 0) == 1, "the test", detail=gateway.log)
        assert b"being ended already" in gateway.cli("end", event).stderr
        end(gateway, event, "--force")
        wait_until_closed(gateway)
        primary.resume(Stage.MAIL)
        assert first.result().returncode == 1
    primary.behave()
    gateway.wait_for(relayed=1)
    gateway.assert_sound()


def test_a_drain_whose_primary_dies_relapses_while_it_is_dead_and_says_so(gateway: Gateway, primary: NextHop) -> None:
    event = activate(gateway, "all")
    for number in range(20):
        gateway.send(f"{('ann', 'bob', 'carl', 'dora', 'info')[number % 5]}@example.com", message(f"m{number}"))
    gateway.wait_for(held=20)
    primary.refuse()
    end(gateway, event, "--force")
    wait_until(lambda: gateway.status()["events"][0]["state"] == "active", "the relapse", 15, gateway.log)
    assert any("active again by itself" in alert["statement"] for alert in gateway.status()["alerts"])
    gateway.stop()
    gateway.start()
    assert any("active again by itself" in alert["statement"] for alert in gateway.status()["alerts"])
    primary.listen()
    wait_until(lambda: gateway.cli("end", event).returncode == 0, "the end", 30, gateway.log)
    wait_until_closed(gateway)
    gateway.wait_for(relayed=20, patience_s=90)
    assert not gateway.status()["alerts"]
    gateway.assert_sound()


def test_flapping_loses_and_doubles_nothing(gateway: Gateway, primary: NextHop) -> None:
    for number in range(5):
        primary.behave(SICK if number % 2 else None)
        event = activate(gateway, "all")
        gateway.send("ann@example.com", message(f"held {number}"))
        end(gateway, event, "--force")
        gateway.send("ann@example.com", message(f"free {number}"))
    primary.behave()
    for event in [one["id"] for one in gateway.status()["events"] if one["state"] == "active"]:
        end(gateway, event, "--force")
    gateway.wait_for(40, relayed=10)
    assert len(primary.taken) == 10
    assert len(set(subjects(primary))) == 10
    gateway.assert_sound()


def test_a_drain_can_be_paused_and_resumed_and_shows_how_far_it_is(gateway: Gateway, primary: NextHop) -> None:
    event = activate(gateway, "all")
    for number in range(20):
        gateway.send("ann@example.com", message(f"m{number}"))
    gateway.wait_for(held=20)
    primary.behave(Behaviour(delay_s=0.05))
    end(gateway, event)
    primary.wait_for(2)
    assert gateway.cli("pause", event).returncode == 0
    wait_until(lambda: gateway.totals().get("active", 0) == 0, "the running ones to end")
    before = len(primary.taken)
    gateway.send("ann@example.com", message("new mail overtakes"))
    primary.wait_for(before + 1)
    assert "new mail overtakes" in subjects(primary)
    [shown] = gateway.status()["events"]
    assert shown["state"] == "draining"
    assert 0 < shown["held"] < 20
    assert gateway.cli("resume", event).returncode == 0
    wait_until_closed(gateway)
    gateway.wait_for(relayed=21)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_in_every_state_goes_on_where_it_was(gateway: Gateway, primary: NextHop, how: str) -> None:
    def restart() -> None:
        getattr(gateway, how)()
        gateway.start()

    primary.behave(SICK)
    gateway.send("carl@example.com", message("deferred"))
    gateway.wait_for(deferred=1)
    event = activate(gateway, "segment:leeds")
    for number in range(40):
        gateway.send("ann@example.com", message(f"m{number}"))
    gateway.wait_for(held=40, deferred=1)
    restart()
    assert [one["state"] for one in gateway.status()["events"]] == ["active"]
    gateway.send("ann@example.com", message("m40"))
    gateway.wait_for(held=41, deferred=1)
    primary.behave(Behaviour(delay_s=0.01))
    end(gateway, event)
    primary.wait_for(5)
    restart()
    wait_until_closed(gateway)
    gateway.wait_for(relayed=42)
    arrived = [one for one in primary.taken if b"Stormsail-Repeat:" not in one.content]
    marked = [one for one in primary.taken if b"Stormsail-Repeat:" in one.content]
    assert {*subjects(primary)} == {"deferred", *(f"m{number}" for number in range(41))}
    assert len(arrived) + len(marked) <= 42 + (20 if how == "kill" else 0)
    gateway.assert_sound()


def test_staff_write_to_each_other_and_outside_while_the_primary_is_dead(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    primary.refuse()
    token = gateway.add_account("ann@example.com")
    draft = {"from": "ann@example.com", "to": ["bob@example.com"], "cc": ["friend@example.net"],
             "bcc": ["carl@example.com"], "subject": "Wir leben 🙂", "text": "Grüße\nAnn"}  # fmt: skip
    with gateway.as_person(token) as ann:
        refused = ann.post("/messages", json=draft, headers={"Idempotency-Key": "k0"})
        assert refused.status_code == 403
        assert refused.json()["detail"]
        activate(gateway, "all")
        answers = [ann.post("/messages", json=draft, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
        assert [one.status_code for one in answers] == [answers[0].status_code] * 2
        assert answers[0].json() == answers[1].json()
        gateway.wait_for(held=2, sent=1)
        with gateway.as_person(gateway.add_account("bob@example.com")) as bob:

            def inbox() -> list[str]:
                return [one["subject"] for one in bob.get("/mailboxes/bob@example.com/messages").json()["messages"]]

            wait_until(lambda: inbox() == ["Wir leben 🙂"], "Bob's copy", detail=lambda: str(inbox()))
        sent = ann.get("/mailboxes/ann@example.com/messages?folder=sent").json()["messages"]
        assert [one["subject"] for one in sent] == ["Wir leben 🙂"]
    [out] = outside.taken
    assert out.recipients == ["friend@example.net"]
    assert b"carl@" not in out.content
    gateway.assert_sound()


def test_a_full_disk_refuses_mail_for_now_and_is_got_over_without_a_restart(primary: NextHop) -> None:
    with running_gateway(primary=primary.port, started=False) as gateway:
        gateway.configure(primary=primary.port, outside=primary.port, limits=f"disk_reserve = {1 << 60}")
        gateway.start()
        with gateway.smtp() as client:
            code, text = client.docmd("MAIL", "FROM:<x@example.org>")
            assert (code, text[:5]) == (452, b"4.3.1")
        assert [one["ok"] for one in gateway.status()["own_health"] if one["name"] == "disk"] == [False]


def test_a_large_message_whose_bytes_are_damaged_never_arrives_and_holds_nobody_up(
    gateway: Gateway, primary: NextHop
) -> None:
    event = activate(gateway, "all")
    gateway.send("ann@example.com", message("damaged", "large\n" * 400_000))
    gateway.send("ann@example.com", message("whole", "large\n" * 400_000))
    gateway.wait_for(held=2)
    damaged = min((gateway.data / "bodies").rglob("m-*"), key=lambda file: file.stat().st_mtime_ns)
    with damaged.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b"?")
    end(gateway, event, "--force")
    gateway.wait_for(relayed=1, deferred=1)
    assert subjects(primary) == ["whole"]
    [waiting] = gateway.api("GET", "/queue", params={"state": "deferred"})["deliveries"]
    assert "not those that were written" in waiting["reply"]


def test_mail_for_a_primary_that_was_renamed_goes_where_its_domain_goes_now(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    primary.refuse()
    gateway.send("bob@example.com", message("deferred"))
    gateway.wait_for(deferred=1)
    event = activate(gateway, "mailbox:ann@example.com")
    gateway.send("ann@example.com", message("held"))
    gateway.wait_for(deferred=1, held=1)
    primary.listen()
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace('"exchange"', '"google"'))
    assert gateway.cli("reload").returncode == 0
    gateway.wait_for(relayed=1, held=1)
    end(gateway, event)
    wait_until_closed(gateway)
    assert subjects(primary) == ["deferred", "held"]
    gateway.assert_sound()


def test_mail_whose_primary_and_domain_were_taken_out_is_told_of_and_sent_nowhere(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    event = activate(gateway, "mailbox:ann@example.com")
    primary.refuse()
    gateway.send("ann@example.com", message("held"))
    gateway.send("bob@example.com", message("deferred"))
    gateway.wait_for(held=1, deferred=1)
    primary.listen()
    whole = gateway.config.read_text()
    gone = whole.replace('"exchange"', '"other"').replace('name = "example.com"', 'name = "example.net"')
    gateway.config.write_text(gone.replace("mailboxes =", "# "))
    assert gateway.cli("reload").returncode == 0
    end(gateway, event, "--force")
    told = ["Mail waits for primary:exchange", "cannot hand back now: There is no way to primary:exchange"]

    def alerts() -> str:
        return " ".join(alert["statement"] for alert in gateway.status()["alerts"])

    wait_until(lambda: all(words in alerts() for words in told), "the alerts", detail=alerts)
    assert not primary.taken
    assert not outside.taken
    gateway.config.write_text(whole)
    assert gateway.cli("reload").returncode == 0
    wait_until_closed(gateway)
    wait_until(lambda: sorted(subjects(primary)) == ["deferred", "held"], "both", 90)
