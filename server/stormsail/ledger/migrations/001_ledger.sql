-- What happened to each message. Times are milliseconds since the epoch.
CREATE TABLE owner (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    since INTEGER NOT NULL,
    process TEXT NOT NULL
) STRICT;

-- A message as it was accepted. Its deliveries have the ids that follow its own: id + 1 … id + recipients.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    direction TEXT NOT NULL,
    reverse_path TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    peer TEXT NOT NULL,
    helo TEXT NOT NULL,
    tls TEXT NOT NULL,
    author TEXT,
    flags INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    size INTEGER NOT NULL,
    head BLOB NOT NULL,
    day TEXT NOT NULL,
    file TEXT NOT NULL,
    offset INTEGER NOT NULL
) STRICT;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    mailbox TEXT,
    domain TEXT NOT NULL,
    segment TEXT,
    known INTEGER NOT NULL,
    lane TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    first_attempt_at INTEGER,
    first_event INTEGER,
    kept_by INTEGER,
    marked INTEGER NOT NULL DEFAULT 0,
    reply TEXT NOT NULL DEFAULT '',
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX delivery_due ON delivery (lane, due_at)
    WHERE state IN ('queued', 'deferred', 'shielded', 'outcome_unknown');
CREATE INDEX delivery_open ON delivery (state, id)
    WHERE state IN ('queued', 'active', 'deferred', 'held', 'shielded', 'outcome_unknown');
CREATE INDEX delivery_by_event ON delivery (first_event, state, mailbox, id) WHERE first_event IS NOT NULL;
CREATE INDEX delivery_kept ON delivery (kept_by, mailbox, id) WHERE state = 'held';

CREATE TABLE transition (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    input TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    remote TEXT NOT NULL,
    reply TEXT NOT NULL,
    latency_ms INTEGER,
    event_id INTEGER
) STRICT;
CREATE INDEX transition_by_delivery ON transition (delivery_id);

-- How many deliveries are in each state; kept in step by every batch, proved by `ledger check`.
CREATE TABLE tally (
    state TEXT PRIMARY KEY,
    deliveries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Accepts whose 250 may not have arrived (DESIGN §3.3): hash of reverse path, recipient and bytes as received.
CREATE TABLE unconfirmed (
    hash BLOB NOT NULL,
    message_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (hash, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    started_by TEXT NOT NULL,
    ended_at INTEGER,
    ended_by TEXT,
    closed_at INTEGER,
    paused INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE event_entry (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX event_entry_by_event ON event_entry (event_id);

-- What was learnt of a primary and must survive a restart, such as the SIZE it last announced.
CREATE TABLE primary_fact (
    name TEXT NOT NULL,
    fact TEXT NOT NULL,
    value TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (name, fact)
) STRICT, WITHOUT ROWID;

-- How far each segment has been taken into the ledger; what is behind that is taken at the start.
CREATE TABLE segment (
    day TEXT NOT NULL,
    file TEXT NOT NULL,
    upto INTEGER NOT NULL,
    PRIMARY KEY (day, file)
) STRICT, WITHOUT ROWID;
