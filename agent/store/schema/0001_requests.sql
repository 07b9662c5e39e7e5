-- Requests: one row each, the current record. Names, labels and paths live in this table only.
-- `record` is the whole record as JSON; the other columns repeat what queries and constraints need.
CREATE TABLE requests (
    uid          TEXT PRIMARY KEY,
    name         TEXT,
    source       TEXT NOT NULL,
    version      INTEGER NOT NULL CHECK (version > 0),
    seq          INTEGER NOT NULL CHECK (seq > 0),       -- the last event of its history
    head         TEXT NOT NULL,                          -- and that event's hash
    generation   INTEGER NOT NULL CHECK (generation > 0),
    mode         TEXT NOT NULL CHECK (mode IN ('upload', 'capture')),
    process_type TEXT NOT NULL,
    phase        TEXT NOT NULL CHECK (phase IN ('dossier', 'process', 'images', 'verification', 'result', 'deletion', 'done')),
    state        TEXT NOT NULL CHECK (state IN ('active', 'waiting', 'held', 'suspended', 'done')),
    outcome      TEXT,
    hold_reason  TEXT,
    dossier_id   TEXT,
    process_id   TEXT,
    reference    TEXT NOT NULL,
    present      INTEGER NOT NULL CHECK (present IN (0, 1)),  -- the file is there
    moving       INTEGER NOT NULL CHECK (moving IN (0, 1)),   -- goes on by itself
    priority     INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
    due_at       REAL,
    admitted_at  REAL NOT NULL,
    opened_at    REAL,                                   -- the first create call
    read_at      REAL,                                   -- the last good look at the status
    queued       INTEGER NOT NULL CHECK (queued IN (0, 1)),  -- waits for the budget
    progress_at  REAL NOT NULL,                          -- the last phase or success; failing is no progress
    delete_at    REAL,                                   -- when the deletion is due
    record       TEXT NOT NULL,
    -- nothing gets stuck [I1]: whoever is not done, and not waiting for a person, has a time to be looked at
    CHECK (due_at IS NOT NULL OR (NOT moving AND phase <> 'deletion')),
    CHECK (phase <> 'done' OR (outcome IS NOT NULL AND due_at IS NULL)),
    CHECK (phase IN ('dossier', 'done') OR dossier_id IS NOT NULL)
);
CREATE UNIQUE INDEX requests_by_name ON requests (source, name) WHERE name IS NOT NULL;
CREATE INDEX requests_due ON requests (priority, due_at, admitted_at) WHERE due_at IS NOT NULL;
CREATE INDEX requests_waiting ON requests (dossier_id) WHERE phase = 'result';
CREATE INDEX requests_queued ON requests (queued) WHERE queued;
CREATE INDEX requests_open ON requests (phase, state) WHERE phase <> 'done';
CREATE INDEX requests_moving ON requests (moving) WHERE moving;
CREATE INDEX requests_held ON requests (hold_reason) WHERE hold_reason IS NOT NULL;

-- Events: the audit history, append-only, one hash chain per request.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    uid     TEXT NOT NULL REFERENCES requests (uid),
    seq     INTEGER NOT NULL CHECK (seq > 0),
    at      REAL NOT NULL,
    type    TEXT NOT NULL,
    changes TEXT NOT NULL,
    hash    TEXT NOT NULL,
    UNIQUE (uid, seq)
);
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- Attempts: every effect that changes the remote, written before it is performed.
CREATE TABLE attempts (
    uid         TEXT NOT NULL REFERENCES requests (uid),
    number      INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    effect      TEXT NOT NULL,
    intended_at REAL NOT NULL,
    answered_at REAL,
    result      TEXT CHECK (result IN ('done', 'refused', 'busy', 'unknown')),
    status      INTEGER,
    trouble     TEXT,
    cause       TEXT,
    shape       TEXT,
    digest      TEXT,
    trace_id    TEXT,
    PRIMARY KEY (uid, number),
    CHECK ((answered_at IS NULL) = (result IS NULL))
) WITHOUT ROWID;

-- Starts: a generation binds at most one process to the billable act [I2].
CREATE TABLE starts (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    process_id TEXT,
    at         REAL NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
CREATE TRIGGER starts_bind_one_process BEFORE UPDATE ON starts WHEN OLD.process_id IS NOT NEW.process_id
BEGIN SELECT RAISE(ABORT, 'this generation has started another process'); END;

-- Reservations: starts taken from the budget, before anything is created; they count for their day, whatever follows.
CREATE TABLE reservations (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    at         REAL NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
CREATE INDEX reservations_by_time ON reservations (at);

-- Orphans: references of dossiers that may turn up at Assure, because the answer to their creation was lost.
CREATE TABLE orphans (
    reference  TEXT PRIMARY KEY,
    uid        TEXT NOT NULL REFERENCES requests (uid),
    since      REAL NOT NULL,
    dossier_id TEXT,                                     -- when it turned up
    closed_at  REAL                                      -- deleted and confirmed, or given up
) WITHOUT ROWID;

-- Links: capture links are bearer secrets; here only, and only while a person may still use them [I6].
CREATE TABLE links (
    uid        TEXT PRIMARY KEY REFERENCES requests (uid),
    link       TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;

-- Sources: what the last scan saw, and the documents it refused.
CREATE TABLE sources (
    source    TEXT PRIMARY KEY,
    synced_at REAL NOT NULL,
    files     INTEGER NOT NULL,
    complete  INTEGER NOT NULL CHECK (complete IN (0, 1)),
    waiting   INTEGER NOT NULL DEFAULT 0                 -- withdrawals that wait for an approval
) WITHOUT ROWID;
CREATE TABLE refusals (
    source  TEXT NOT NULL,
    file    TEXT NOT NULL,
    line    INTEGER NOT NULL,
    col     INTEGER NOT NULL,
    message TEXT NOT NULL,
    hint    TEXT NOT NULL,
    name    TEXT                                         -- when it could be read
);

-- Tallies: counters that are true across restarts, kept in the transaction of what they count.
CREATE TABLE tallies (
    tally        TEXT NOT NULL CHECK (tally IN ('outcome', 'start')),
    mode         TEXT NOT NULL,
    process_type TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    value        INTEGER NOT NULL,
    PRIMARY KEY (tally, mode, process_type, outcome)
) WITHOUT ROWID;

-- Commands: what people told a running agent; each is obeyed once, however often it is sent.
CREATE TABLE commands (
    id     TEXT PRIMARY KEY,
    at     REAL NOT NULL,
    verb   TEXT NOT NULL,
    uid    TEXT,
    answer TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
