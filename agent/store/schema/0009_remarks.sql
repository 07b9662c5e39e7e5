-- Remarks: what the last scan saw of a request that its record does not say. Replaced as a whole when they change.
CREATE TABLE remarks (
    source TEXT NOT NULL,
    uid    TEXT NOT NULL REFERENCES requests (uid),
    kind   TEXT NOT NULL CHECK (kind IN ('withdrawal-waits', 'stray-answer')),
    about  TEXT NOT NULL,                                -- the hold that a stray answer names; empty: it names none
    PRIMARY KEY (uid, kind, source)
) WITHOUT ROWID;
