-- Who is known here, by source: each source replaces only what it brought itself. Times are milliseconds since the epoch.
CREATE TABLE source (
    name TEXT PRIMARY KEY,
    as_of INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    source TEXT NOT NULL,
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    segment TEXT,
    kind TEXT NOT NULL,
    PRIMARY KEY (source, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE alias (
    source TEXT NOT NULL,
    address TEXT NOT NULL,
    alias TEXT NOT NULL,
    PRIMARY KEY (source, address, alias)
) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    source TEXT NOT NULL,
    address TEXT NOT NULL,
    place INTEGER NOT NULL,
    member TEXT NOT NULL,
    PRIMARY KEY (source, address, place)
) STRICT, WITHOUT ROWID;

-- Every import that was done, so that none is silent.
CREATE TABLE import_run (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    source TEXT NOT NULL,
    actor TEXT NOT NULL,
    entries INTEGER NOT NULL,
    added INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    forced INTEGER NOT NULL
) STRICT;

-- Addresses that the primary took in a call-out and no source lists (DESIGN §3.7).
CREATE TABLE learnt (
    address TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
