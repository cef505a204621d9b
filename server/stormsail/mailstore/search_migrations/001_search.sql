-- The decoded text of one day's messages and its index. All of it can be made anew from the bodies.
CREATE TABLE shown (
    message_id INTEGER PRIMARY KEY,
    view BLOB NOT NULL
) STRICT;

-- The same ids again, small enough to be counted.
CREATE TABLE done (message_id INTEGER PRIMARY KEY) STRICT;

-- rowid is the message's id; `boxes` has a token for each mailbox with a copy, and `hasattachment`.
CREATE VIRTUAL TABLE words USING fts5 (
    subject, author, recipients, message_id, body, boxes,
    content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
);
