-- The schema of the state file, version 1. Times are seconds since the epoch, in UTC.

-- ---- The current state of each request --------------------------------------------------------------------------------

-- Most CHECKs have no IN list of three or more values, because SQLite would build a table of the list for each row.

-- requests: one row for each request. The column `record` holds the whole record as JSON. The other columns copy the
-- fields that queries and constraints need. Names, labels and paths are in this table, in `labels` and in `provenance`.
CREATE TABLE requests (
    uid          TEXT PRIMARY KEY,
    name         TEXT,                                   -- null: erased by `forget`
    source       TEXT NOT NULL,
    version      INTEGER NOT NULL CHECK (version > 0),
    seq          INTEGER NOT NULL CHECK (seq > 0),       -- the number of the last event of this request
    head         TEXT NOT NULL,                          -- the hash of that event
    generation   INTEGER NOT NULL CHECK (generation > 0),
    mode         TEXT NOT NULL CHECK (mode IN ('upload', 'capture')),
    process_type TEXT NOT NULL,
    phase        TEXT NOT NULL CHECK (phase = 'dossier' OR phase = 'process' OR phase = 'images' OR phase = 'verification'
        OR phase = 'result' OR phase = 'deletion' OR phase = 'done'),
    state        TEXT NOT NULL CHECK (state = 'active' OR state = 'waiting' OR state = 'held' OR state = 'suspended'
        OR state = 'done'),
    outcome      TEXT,
    hold_reason  TEXT,
    dossier_id   TEXT,
    process_id   TEXT,
    reference    TEXT NOT NULL,
    present      INTEGER NOT NULL CHECK (present IN (0, 1)),  -- 1: the request file exists
    moving       INTEGER NOT NULL CHECK (moving IN (0, 1)),   -- 1: the request progresses without an operator
    priority     INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    due_at       REAL,                                   -- when the agent handles the request next
    admitted_at  REAL NOT NULL,
    opened_at    REAL,                                   -- the first create call
    read_at      REAL,                                   -- the last successful read of the status
    queued       INTEGER NOT NULL CHECK (queued IN (0, 1)),  -- 1: the request waits for the budget
    progress_at  REAL NOT NULL,                          -- the last new phase or successful call
    delete_at    REAL,                                   -- when the deletion of the dossier is due
    record       TEXT NOT NULL,
    decides_at   REAL,                                   -- when the deadline decides; while held or suspended, `due_at`
    salt         TEXT,                                   -- of the digests of this request; null after `forget`
    -- [I1] No request gets stuck: a request that is not done and not blocked has a time at which it is handled next.
    CHECK (due_at IS NOT NULL OR (moving = 0 AND phase <> 'deletion')),
    CHECK (phase <> 'done' OR (outcome IS NOT NULL AND due_at IS NULL)),
    CHECK (phase IN ('dossier', 'done') OR dossier_id IS NOT NULL)
);

-- Indexes of the control loops. The cost of a query depends on the rows that it returns, not on the size of the table.
CREATE UNIQUE INDEX requests_by_name ON requests (source, name) WHERE name IS NOT NULL;
CREATE INDEX requests_due ON requests (priority, due_at, admitted_at) WHERE due_at IS NOT NULL;
CREATE INDEX requests_deciding ON requests (decides_at) WHERE decides_at IS NOT NULL;
CREATE INDEX requests_deleting ON requests (delete_at) WHERE phase = 'deletion';
-- An Assure Event may arrive before the response to the start that caused it.
CREATE INDEX requests_waiting ON requests (dossier_id) WHERE phase = 'result' OR phase = 'verification';
CREATE INDEX requests_waiting_since ON requests (opened_at) WHERE phase = 'result';
CREATE INDEX requests_queued ON requests (queued) WHERE queued = 1;
CREATE INDEX requests_moving ON requests (moving) WHERE moving = 1;
CREATE INDEX requests_held ON requests (hold_reason, uid) WHERE hold_reason IS NOT NULL;
CREATE INDEX requests_present ON requests (source, name, uid) WHERE present = 1 AND name IS NOT NULL;
CREATE INDEX requests_with_dossier ON requests (admitted_at) WHERE dossier_id IS NOT NULL AND phase <> 'done';

-- Indexes of the lists in the command line, the API and the status page. `requests_by_phase` also finds the open
-- requests, and `requests_by_state` also serves the metrics.
CREATE INDEX requests_by_phase ON requests (phase, uid);
CREATE INDEX requests_by_outcome ON requests (outcome, uid) WHERE outcome IS NOT NULL;
CREATE INDEX requests_by_state ON requests (state, progress_at, uid);
CREATE INDEX requests_by_part_of_name ON requests (name, uid) WHERE name IS NOT NULL;

-- labels: the labels of the current document, for searches. `forget` erases them with the name.
CREATE TABLE labels (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    uid   TEXT NOT NULL REFERENCES requests (uid),
    PRIMARY KEY (key, value, uid)
) WITHOUT ROWID;
CREATE INDEX labels_by_uid ON labels (uid);

-- provenance: the origin of the file of each generation. That is the author of its last commit, and with SOURCE_VERIFY=each
-- the commit and its signer. `forget` erases it.
CREATE TABLE provenance (
    uid         TEXT NOT NULL REFERENCES requests (uid),
    generation  INTEGER NOT NULL CHECK (generation > 0),
    file        TEXT NOT NULL,
    author      TEXT,                                    -- as git has it, or why it is not known
    file_commit TEXT,                                    -- the commit that last changed the file
    signer      TEXT,                                    -- its verified signer, with the fingerprint of the key
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;

-- ---- Journal ----------------------------------------------------------------------------------------------------------

-- events: the audit history. It is append-only, with one hash chain for each request.
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

-- commands: the commands of operators to a running agent. The agent applies each id once, however often it is sent.
CREATE TABLE commands (
    id     TEXT PRIMARY KEY,
    at     REAL NOT NULL,
    verb   TEXT NOT NULL,
    uid    TEXT,
    answer TEXT NOT NULL,
    sender TEXT,                                         -- the OS account at the other end of the control socket
    number INTEGER NOT NULL,                             -- the order of application: 1, 2, 3, without a gap
    hash   TEXT NOT NULL                                 -- keyed; covers the previous hash and every column but the answer
) WITHOUT ROWID;
CREATE UNIQUE INDEX commands_in_order ON commands (number);

-- recoveries: each time the agent found the state file lost, older than its mark, or restored. Append-only.
CREATE TABLE recoveries (
    id          INTEGER PRIMARY KEY,
    at          REAL NOT NULL,
    cause       TEXT NOT NULL CHECK (cause IN ('lost', 'older', 'restored')),
    known       INTEGER,                                 -- the number of events according to the high-water mark
    kept        INTEGER NOT NULL,                        -- the number of events in the file as it was found
    backup_at   REAL,                                    -- when the backup was made; null if the file is not a backup
    scanned_at  REAL,                                    -- when the agent listed the dossiers at Assure
    approved_at REAL,                                    -- when an operator approved new work
    closed_at   REAL                                     -- when the recovery ended
);
CREATE UNIQUE INDEX recoveries_open ON recoveries (closed_at IS NULL) WHERE closed_at IS NULL;
CREATE TRIGGER recoveries_are_never_deleted BEFORE DELETE ON recoveries
BEGIN SELECT RAISE(ABORT, 'recoveries are append-only'); END;

-- ---- Calls to Assure --------------------------------------------------------------------------------------------------

-- attempts: each call that changes something at Assure. The row is committed before the call is sent.
CREATE TABLE attempts (
    uid         TEXT NOT NULL REFERENCES requests (uid),
    number      INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    effect      TEXT NOT NULL,
    intended_at REAL NOT NULL,
    answered_at REAL,
    result      TEXT CHECK (result = 'done' OR result = 'refused' OR result = 'busy' OR result = 'unknown'),
    status      INTEGER,
    trouble     TEXT,
    cause       TEXT,
    shape       TEXT,
    digest      TEXT,
    trace_id    TEXT,
    words       TEXT,                                    -- the known words of an error body
    PRIMARY KEY (uid, number),
    CHECK ((answered_at IS NULL) = (result IS NULL))
) WITHOUT ROWID;

-- starts: the billable act of a generation. [I2] A generation starts at most one process.
CREATE TABLE starts (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    process_id TEXT,
    at         REAL NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
CREATE TRIGGER starts_bind_one_process BEFORE UPDATE ON starts WHEN OLD.process_id IS NOT NEW.process_id
BEGIN SELECT RAISE(ABORT, 'this generation has started another process'); END;
CREATE INDEX starts_by_time ON starts (at);

-- reservations: starts taken from the budget before the dossier is created. A reservation counts for its day in any case.
CREATE TABLE reservations (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    at         REAL NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
CREATE INDEX reservations_by_time ON reservations (at);

-- orphans: references of dossiers that may exist at Assure, because the response to the create call was lost.
CREATE TABLE orphans (
    reference  TEXT PRIMARY KEY,
    uid        TEXT NOT NULL REFERENCES requests (uid),
    since      REAL NOT NULL,
    dossier_id TEXT,                                     -- set when Assure lists the dossier
    closed_at  REAL                                      -- when it was confirmed deleted, or the agent stopped searching
) WITHOUT ROWID;

-- unclaimed_dossiers: dossiers with this agent's id that no request explains, as of the last list of a recovery.
CREATE TABLE unclaimed_dossiers (
    dossier_id TEXT PRIMARY KEY,
    reference  TEXT NOT NULL,
    seen_at    REAL NOT NULL
) WITHOUT ROWID;

-- receipts: digests of the ids of Assure Events, kept for a day, so that the agent recognizes a duplicate.
CREATE TABLE receipts (
    digest TEXT PRIMARY KEY,
    at     REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX receipts_by_time ON receipts (at);

-- ---- Secrets and personal data with an end ----------------------------------------------------------------------------

-- links: capture links. [I6] A link is a bearer secret: it is in this table only, and only while it can be used.
CREATE TABLE links (
    uid        TEXT PRIMARY KEY REFERENCES requests (uid),
    link       TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;

-- claims: the encrypted personal data of an accepted result, until it expires. [I6] The keys are not in this file.
CREATE TABLE claims (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    key_id     TEXT NOT NULL,                            -- the file in `keys/` with the key that wraps `wrapped`
    wrapped    BLOB NOT NULL,                            -- the data key of these claims, wrapped
    ciphertext BLOB NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE INDEX claims_by_time ON claims (expires_at);
CREATE INDEX claims_by_key ON claims (key_id);

-- image_deletions: requests whose image files the agent deletes, because their outcome is durable.
CREATE TABLE image_deletions (
    uid    TEXT PRIMARY KEY REFERENCES requests (uid),
    since  REAL NOT NULL,
    tries  INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL DEFAULT 0,                      -- the next attempt
    cause  TEXT,                                         -- the errno of the last failure; null before any failure
    how    TEXT NOT NULL DEFAULT '{}'                    -- JSON: the result for each file that is finished
) WITHOUT ROWID;

-- superseded_images: files that an earlier generation uploaded and that the current document does not name. The agent
-- deletes them as well. When a file is finished, `path` and `sha256` become null and `how` holds the result.
CREATE TABLE superseded_images (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    depiction  TEXT NOT NULL,
    path       TEXT,
    sha256     TEXT,
    since      REAL NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     REAL NOT NULL DEFAULT 0,
    cause      TEXT,
    done_at    REAL,
    how        TEXT,
    PRIMARY KEY (uid, generation, depiction)
);
CREATE INDEX superseded_images_owed ON superseded_images (due_at) WHERE done_at IS NULL;

-- ---- Sources, counters, outbox ----------------------------------------------------------------------------------------

-- sources: the last scan of each source.
CREATE TABLE sources (
    source    TEXT PRIMARY KEY,
    synced_at REAL NOT NULL,
    files     INTEGER NOT NULL,
    complete  INTEGER NOT NULL CHECK (complete IN (0, 1)),
    waiting   INTEGER NOT NULL DEFAULT 0                 -- withdrawals that wait for an approval
) WITHOUT ROWID;

-- source_revisions: git sources. The revision that the agent acts on, and why it does not act on a newer one. `signer` is
-- personal data of the team; the next revision overwrites it.
CREATE TABLE source_revisions (
    source          TEXT PRIMARY KEY,
    revision        TEXT,                                -- the commit that was scanned last
    committed_at    REAL,
    signer          TEXT,
    acted_at        REAL,                                -- when that commit was first scanned
    fetched_at      REAL,                                -- when the server last reported its head
    refused         TEXT,                                -- a fetched commit that the agent does not act on
    refused_reason  TEXT,
    refused_commit  TEXT,                                -- the commit that is the reason
    refused_since   REAL,
    failure         TEXT,                                -- why the last fetch failed
    failing_since   REAL
) WITHOUT ROWID;

-- refusals: the documents that the last scan refused.
CREATE TABLE refusals (
    source  TEXT NOT NULL,
    file    TEXT NOT NULL,
    line    INTEGER NOT NULL,
    col     INTEGER NOT NULL,
    message TEXT NOT NULL,
    hint    TEXT NOT NULL,
    name    TEXT                                         -- null: the document has no readable name
);

-- scan_notes: results of the last scan that are not in the record of a request. A scan replaces all of them.
CREATE TABLE scan_notes (
    source  TEXT NOT NULL,
    uid     TEXT NOT NULL REFERENCES requests (uid),
    kind    TEXT NOT NULL CHECK (kind IN ('withdrawal-waits', 'stray-answer')),
    hold_id TEXT NOT NULL,                               -- the hold that a stray answer names, or empty
    PRIMARY KEY (uid, kind, source)
) WITHOUT ROWID;

-- withdrawals: files that were removed before the outcome. A file counts for the prune guard even when it came back.
CREATE TABLE withdrawals (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL CHECK (generation > 0),
    at         REAL NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
CREATE INDEX withdrawals_by_time ON withdrawals (at);

-- counters: totals that survive a restart. Each is written in the transaction of the change that it counts.
CREATE TABLE counters (
    counter      TEXT NOT NULL CHECK (counter IN ('outcome', 'start')),
    mode         TEXT NOT NULL,
    process_type TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    value        INTEGER NOT NULL,
    PRIMARY KEY (counter, mode, process_type, outcome)
) WITHOUT ROWID;

-- request_counts: the number of requests of each kind. The agent writes it with each transaction, so that metrics need no scan.
CREATE TABLE request_counts (
    phase    TEXT NOT NULL,
    state    TEXT NOT NULL,
    reason   TEXT NOT NULL,                              -- of the hold, or empty
    dossier  INTEGER NOT NULL CHECK (dossier IN (0, 1)), -- 1: the request has a dossier id
    requests INTEGER NOT NULL,
    PRIMARY KEY (phase, state, reason, dossier)
) WITHOUT ROWID;

-- deliveries: the outbox. A notification is written in the transaction of its change, and deleted once the sink accepted
-- it. [I6] It holds no name and no label: the agent reads these from `requests` when it sends the notification.
CREATE TABLE deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,        -- the order
    sink       TEXT NOT NULL,                            -- a digest of its URL
    event      TEXT NOT NULL,                            -- the id that the sink receives; the same for each attempt
    uid        TEXT NOT NULL REFERENCES requests (uid),
    type       TEXT NOT NULL CHECK (type = 'capture.ready' OR type = 'settled' OR type = 'held' OR type = 'deleted'),
    generation INTEGER NOT NULL,
    at         REAL NOT NULL,
    outcome    TEXT,
    reason     TEXT,
    hold_id    TEXT
);
CREATE INDEX deliveries_by_sink ON deliveries (sink, id);

-- meta: texts and times by key, such as the fingerprint of the key file and the time when the operator paused the
-- agent. The column has no type, so that a time is stored as a number.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;
-- The number of the last command and its seal. Empty until the first start, when the agent has the key.
INSERT INTO meta (key, value) VALUES ('commands', '');

-- ---- Views for auditors ---------------------------------------------------------------------------------------------

-- Times are ISO text in UTC. The agent itself does not read these views.
-- Generations, phases, holds and dossiers are derived from events, so a later generation does not hide an earlier one.

-- requests_now: the current state of a request. The name is null once it was forgotten.
CREATE VIEW requests_now AS
SELECT name, uid, source, generation, mode, process_type, phase, state, outcome, hold_reason, dossier_id, process_id, reference,
    present AS file_is_there,
    strftime('%Y-%m-%dT%H:%M:%fZ', admitted_at, 'unixepoch') AS admitted,
    strftime('%Y-%m-%dT%H:%M:%fZ', progress_at, 'unixepoch') AS last_progress,
    strftime('%Y-%m-%dT%H:%M:%fZ', due_at, 'unixepoch') AS next_due_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', delete_at, 'unixepoch') AS deletion_due
FROM requests;

-- history: an event in the order of writing, with the observation and the audited fields that it changed
CREATE VIEW history AS
SELECT events.id AS event, requests.name, events.uid, events.seq,
    strftime('%Y-%m-%dT%H:%M:%fZ', events.at, 'unixepoch') AS time,
    events.type, events.changes, events.hash
FROM events LEFT JOIN requests ON requests.uid = events.uid;

-- generations: a requested verification, with the commit, the author and signer of its file's last change, and the outcome
CREATE VIEW generations AS
WITH begun AS (
    SELECT id, uid, seq, at, json_extract(changes, '$.generation') AS generation,
        lead(seq, 1, 1e18) OVER (PARTITION BY uid ORDER BY seq) AS until
    FROM events WHERE json_extract(changes, '$.generation') IS NOT NULL
)
SELECT requests.name, begun.uid, begun.generation,
    strftime('%Y-%m-%dT%H:%M:%fZ', begun.at, 'unixepoch') AS asked,
    provenance.author, provenance.signer AS signed_by, provenance.file_commit,
    (SELECT json_extract(changes, '$.commit') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND json_type(changes, '$.commit') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS "commit",
    (SELECT json_extract(changes, '$.dirty') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND json_type(changes, '$.dirty') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS file_differed,
    (SELECT json_extract(changes, '$.digest') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND json_type(changes, '$.digest') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS digest,
    (SELECT json_extract(changes, '$.mode') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND json_type(changes, '$.mode') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS mode,
    (SELECT json_extract(changes, '$.processType') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND json_type(changes, '$.processType') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS process_type,
    (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', min(events.at), 'unixepoch') FROM events
        WHERE events.uid = begun.uid AND events.seq >= begun.seq AND events.seq < begun.until
        AND json_extract(changes, '$.billed')) AS billed,
    (SELECT json_extract(changes, '$.outcome') FROM events
        WHERE events.uid = begun.uid AND events.seq >= begun.seq AND events.seq < begun.until
        AND json_extract(changes, '$.outcome') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS outcome,
    (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(changes, '$.outcomeAt'), 'unixepoch') FROM events
        WHERE events.uid = begun.uid AND events.seq >= begun.seq AND events.seq < begun.until
        AND json_extract(changes, '$.outcome') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS decided
FROM begun LEFT JOIN requests ON requests.uid = begun.uid
    LEFT JOIN provenance ON provenance.uid = begun.uid AND provenance.generation = begun.generation;

-- phases: the time that a request spent in a phase. `left` is null for the current phase.
CREATE VIEW phases AS
WITH entered AS (
    SELECT uid, seq, at, json_extract(changes, '$.phase') AS phase,
        lead(at) OVER (PARTITION BY uid ORDER BY seq) AS until
    FROM events WHERE json_extract(changes, '$.phase') IS NOT NULL
)
SELECT requests.name, entered.uid,
    (SELECT json_extract(changes, '$.generation') FROM events WHERE events.uid = entered.uid AND events.seq <= entered.seq
        AND json_extract(changes, '$.generation') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS generation,
    entered.phase,
    strftime('%Y-%m-%dT%H:%M:%fZ', entered.at, 'unixepoch') AS entered,
    strftime('%Y-%m-%dT%H:%M:%fZ', entered.until, 'unixepoch') AS "left",
    round(entered.until - entered.at, 3) AS seconds
FROM entered LEFT JOIN requests ON requests.uid = entered.uid;

-- holds: a hold of a request. `until` is null while it waits for the operator.
CREATE VIEW holds AS
WITH asked AS (
    SELECT uid, seq, at, json_extract(changes, '$.hold.id') AS id, json_extract(changes, '$.hold.reason') AS reason,
        lead(at) OVER (PARTITION BY uid ORDER BY seq) AS until,
        lead(type) OVER (PARTITION BY uid ORDER BY seq) AS ended_by
    FROM events WHERE json_type(changes, '$.hold') IS NOT NULL
)
SELECT requests.name, asked.uid, asked.id AS hold_id, asked.reason,
    strftime('%Y-%m-%dT%H:%M:%fZ', asked.at, 'unixepoch') AS since,
    strftime('%Y-%m-%dT%H:%M:%fZ', asked.until, 'unixepoch') AS until,
    asked.ended_by, round(asked.until - asked.at, 3) AS seconds
FROM asked LEFT JOIN requests ON requests.uid = asked.uid WHERE asked.id IS NOT NULL;

-- dossiers: a dossier that the agent created, with the due time of its deletion and the time of its confirmation
CREATE VIEW dossiers AS
WITH known AS (
    SELECT uid, seq, at, json_extract(changes, '$.dossierId') AS dossier_id,
        (SELECT min(gone.seq) FROM events AS gone
            WHERE gone.uid = events.uid AND gone.seq > events.seq AND gone.type = 'TargetMissing'
            AND json_extract(gone.changes, '$.phase') IN ('done', 'dossier')) AS gone_seq
    FROM events WHERE json_extract(changes, '$.dossierId') IS NOT NULL
), timed AS (
    SELECT known.*,
        (SELECT json_extract(changes, '$.generation') FROM events WHERE events.uid = known.uid AND events.seq <= known.seq
            AND json_extract(changes, '$.generation') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS generation,
        (SELECT json_extract(changes, '$.deleteAt') FROM events WHERE events.uid = known.uid AND events.seq > known.seq
            AND (known.gone_seq IS NULL OR events.seq < known.gone_seq)
            AND json_extract(changes, '$.deleteAt') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS due_at,
        (SELECT events.at FROM events WHERE events.uid = known.uid AND events.seq > known.seq
            AND (known.gone_seq IS NULL OR events.seq < known.gone_seq)
            AND json_extract(changes, '$.deleted') ORDER BY events.seq DESC LIMIT 1) AS deleted_at,
        (SELECT gone.at FROM events AS gone WHERE gone.uid = known.uid AND gone.seq = known.gone_seq) AS gone_at,
        (SELECT gone.id FROM events AS gone WHERE gone.uid = known.uid AND gone.seq = known.gone_seq) AS gone_event
    FROM known
)
SELECT requests.name, timed.uid, timed.generation, timed.dossier_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', timed.at, 'unixepoch') AS created,
    strftime('%Y-%m-%dT%H:%M:%fZ', timed.due_at, 'unixepoch') AS deletion_due,
    strftime('%Y-%m-%dT%H:%M:%fZ', timed.deleted_at, 'unixepoch') AS deleted,
    strftime('%Y-%m-%dT%H:%M:%fZ', timed.gone_at, 'unixepoch') AS confirmed_gone,
    round(timed.gone_at - timed.due_at, 3) AS delay_seconds,
    timed.gone_event AS evidence_event
FROM timed LEFT JOIN requests ON requests.uid = timed.uid;

-- calls: a call that changes something at Assure, and its response. `result` is null until Assure answers.
CREATE VIEW calls AS
SELECT requests.name, attempts.uid, attempts.generation, attempts.number, attempts.effect AS call,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.intended_at, 'unixepoch') AS intended,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.answered_at, 'unixepoch') AS answered,
    round(attempts.answered_at - attempts.intended_at, 3) AS seconds,
    attempts.result, attempts.status, attempts.trouble, attempts.cause, attempts.trace_id, attempts.words
FROM attempts LEFT JOIN requests ON requests.uid = attempts.uid;

-- billed_starts: the billable act of a generation, a start or a capture link. A capture has no `process_id`.
CREATE VIEW billed_starts AS
SELECT requests.name, starts.uid, starts.generation,
    strftime('%Y-%m-%dT%H:%M:%fZ', starts.at, 'unixepoch') AS time,
    CASE WHEN starts.process_id IS NULL THEN 'capture' ELSE 'upload' END AS mode, starts.process_id
FROM starts LEFT JOIN requests ON requests.uid = starts.uid;

-- possible_orphans: a dossier that may exist at Assure, because the response to the create call was lost
CREATE VIEW possible_orphans AS
SELECT requests.name, orphans.uid, orphans.reference,
    strftime('%Y-%m-%dT%H:%M:%fZ', orphans.since, 'unixepoch') AS since,
    orphans.dossier_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', orphans.closed_at, 'unixepoch') AS closed,
    CASE WHEN orphans.closed_at IS NULL THEN 'watched' WHEN orphans.dossier_id IS NULL THEN 'never seen'
        ELSE 'deleted and confirmed' END AS came_to
FROM orphans LEFT JOIN requests ON requests.uid = orphans.uid;

-- operator_commands: a command of an operator, and the OS account that sent it
CREATE VIEW operator_commands AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', commands.at, 'unixepoch') AS time, commands.verb AS command,
    requests.name, commands.uid, commands.sender
FROM commands LEFT JOIN requests ON requests.uid = commands.uid;
