-- The copies (DESIGN §6). Times are milliseconds since the epoch. All but flags, folders and UIDs can be made anew
-- from the ledger and the bodies.
CREATE TABLE follower (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cursor INTEGER NOT NULL,
    clean INTEGER NOT NULL
) STRICT;

-- `modseq` counts every change in the mailbox, so it grows in each of its folders (RFC 7162 §3.1). `token` stands for it
-- in the search indices and stays when its owner takes another address.
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    modseq INTEGER NOT NULL
) STRICT;

-- UIDs below `reserved` may be given; after a crash the next one given is `reserved` itself (RFC 9051 §2.3.1.1).
CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    mailbox_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    highestmodseq INTEGER NOT NULL,
    UNIQUE (mailbox_id, name)
) STRICT;

-- A message of the ledger, once for all its copies; what is said of it comes from its digest.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    day TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    state TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    subject TEXT NOT NULL DEFAULT '',
    author_name TEXT NOT NULL DEFAULT '',
    author_address TEXT NOT NULL DEFAULT '',
    date INTEGER,
    message_id TEXT NOT NULL DEFAULT '',
    preview TEXT NOT NULL DEFAULT '',
    attachments INTEGER NOT NULL DEFAULT 0,
    header_length INTEGER NOT NULL DEFAULT 0,
    envelope BLOB,
    structure BLOB,
    digest_format INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX message_preparing ON message (id) WHERE state = 'preparing';
CREATE INDEX message_by_day ON message (day, state, id);

-- A message in a mailbox. `sent`: by its owner; then `recipients` are those of the envelope, as JSON.
CREATE TABLE copy (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    folder_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    keywords TEXT NOT NULL DEFAULT '',
    internal_date INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    recipients TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE UNIQUE INDEX copy_once ON copy (message_id, mailbox_id, sent);
CREATE UNIQUE INDEX copy_uid ON copy (folder_id, uid);
CREATE INDEX copy_in_folder ON copy (folder_id, internal_date, id);
CREATE INDEX copy_in_mailbox ON copy (mailbox_id, internal_date, id);
CREATE INDEX copy_unread ON copy (folder_id) WHERE flags & 1 = 0;

CREATE TABLE expunged (
    folder_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (folder_id, uid)
) STRICT, WITHOUT ROWID;

-- What was filed into a Sent folder within the last day (DESIGN §5): hash of Message-ID and body.
CREATE TABLE sent_once (
    mailbox_id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    copy_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, hash)
) STRICT, WITHOUT ROWID;

-- Copies that are rightly not there: deleted by a person, or standing in the Sent copy `copy_id` (DESIGN §5).
CREATE TABLE absent (
    message_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    copy_id INTEGER,
    PRIMARY KEY (message_id, mailbox_id, sent)
) STRICT, WITHOUT ROWID;
