-- The schema on PostgreSQL, version 1. Times are seconds since the epoch, in UTC. Tables and columns have the names that they have on SQLite.

-- ---- Functions that the tables and views use -------------------------------------------------------------------------

-- refuse: the trigger function of tables whose rows never change
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;

-- iso: a time as ISO text in UTC, to a thousandth. It rounds as SQLite does, which adds the milliseconds from its own epoch.
CREATE FUNCTION iso(at double precision) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT to_char(
        to_timestamp((floor(at * 1000 + 210866760000000 + 0.5) - 210866760000000) / 1000) AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
    )
$$;

-- seconds_between: the time between both, to a thousandth
CREATE FUNCTION seconds_between(begun double precision, ended double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT round((ended - begun)::numeric, 3)::double precision
$$;

-- ---- The current state of each request --------------------------------------------------------------------------------

-- requests: one row for each request. The column `record` holds the whole record as JSON. The other columns copy the
-- fields that queries and constraints need. Names, labels and paths are in this table, in `labels` and in `provenance`.
CREATE TABLE requests (
    uid          text COLLATE "C" PRIMARY KEY,
    name         text COLLATE "C",                           -- null: erased by `forget`
    source       text COLLATE "C" NOT NULL,
    version      bigint NOT NULL CHECK (version > 0),
    seq          bigint NOT NULL CHECK (seq > 0),            -- the number of the last event of this request
    head         text COLLATE "C" NOT NULL,                  -- the hash of that event
    generation   bigint NOT NULL CHECK (generation > 0),
    mode         text COLLATE "C" NOT NULL CHECK (mode IN ('upload', 'capture')),
    process_type text COLLATE "C" NOT NULL,
    phase        text COLLATE "C" NOT NULL CHECK (phase = 'dossier' OR phase = 'process' OR phase = 'images' OR phase = 'verification'
        OR phase = 'result' OR phase = 'deletion' OR phase = 'done'),
    state        text COLLATE "C" NOT NULL CHECK (state = 'active' OR state = 'waiting' OR state = 'held' OR state = 'suspended'
        OR state = 'done'),
    outcome      text COLLATE "C",
    hold_reason  text COLLATE "C",
    dossier_id   text COLLATE "C",
    process_id   text COLLATE "C",
    reference    text COLLATE "C" NOT NULL,
    present      smallint NOT NULL CHECK (present IN (0, 1)),  -- 1: the request file exists
    moving       smallint NOT NULL CHECK (moving IN (0, 1)),   -- 1: the request progresses without an operator
    priority     bigint NOT NULL CHECK (priority BETWEEN 0 AND 2),
    due_at       double precision,                           -- when the agent handles the request next
    admitted_at  double precision NOT NULL,
    opened_at    double precision,                           -- the first create call
    read_at      double precision,                           -- the last successful read of the status
    queued       smallint NOT NULL CHECK (queued IN (0, 1)),  -- 1: the request waits for the budget
    progress_at  double precision NOT NULL,                  -- the last new phase or successful call
    delete_at    double precision,                           -- when the deletion of the dossier is due
    record       text COLLATE "C" NOT NULL,
    decides_at   double precision,                           -- when the deadline decides; while held or suspended, `due_at`
    salt         text COLLATE "C",                           -- of the digests of this request; null after `forget`
    -- [I1] No request gets stuck: a request that is not done and not blocked has a time at which it is handled next.
    CHECK (due_at IS NOT NULL OR (moving = 0 AND phase <> 'deletion')),
    CHECK (phase <> 'done' OR (outcome IS NOT NULL AND due_at IS NULL)),
    CHECK (phase IN ('dossier', 'done') OR dossier_id IS NOT NULL)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

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
    key   text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    uid   text COLLATE "C" NOT NULL REFERENCES requests (uid),
    PRIMARY KEY (key, value, uid)
);
CREATE INDEX labels_by_uid ON labels (uid);

-- provenance: the origin of the file of each generation. That is the author of its last commit, and with SOURCE_VERIFY=each
-- the commit and its signer. `forget` erases it.
CREATE TABLE provenance (
    uid         text COLLATE "C" NOT NULL REFERENCES requests (uid),
    generation  bigint NOT NULL CHECK (generation > 0),
    file        text COLLATE "C" NOT NULL,
    author      text COLLATE "C",                            -- as git has it, or why it is not known
    file_commit text COLLATE "C",                            -- the commit that last changed the file
    signer      text COLLATE "C",                            -- its verified signer, with the fingerprint of the key
    PRIMARY KEY (uid, generation)
);

-- ---- Journal ----------------------------------------------------------------------------------------------------------

-- events: the audit history. It is append-only, with one hash chain for each request.
CREATE TABLE events (
    id      bigint PRIMARY KEY,
    uid     text COLLATE "C" NOT NULL REFERENCES requests (uid),
    seq     bigint NOT NULL CHECK (seq > 0),
    at      double precision NOT NULL,
    type    text COLLATE "C" NOT NULL,
    changes text COLLATE "C" NOT NULL,
    hash    text COLLATE "C" NOT NULL,
    UNIQUE (uid, seq)
);
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events FOR EACH ROW
    EXECUTE FUNCTION refuse('events are append-only');
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events FOR EACH ROW
    EXECUTE FUNCTION refuse('events are append-only');

-- commands: the commands of operators to a running agent. The agent applies each id once, however often it is sent.
CREATE TABLE commands (
    id     text COLLATE "C" PRIMARY KEY,
    at     double precision NOT NULL,
    verb   text COLLATE "C" NOT NULL,
    uid    text COLLATE "C",
    answer text COLLATE "C" NOT NULL,
    sender text COLLATE "C",                                 -- the OS account at the other end of the control socket
    number bigint NOT NULL,                                  -- the order of application: 1, 2, 3, without a gap
    hash   text COLLATE "C" NOT NULL                         -- keyed; covers the previous hash and every column but the answer
);
CREATE UNIQUE INDEX commands_in_order ON commands (number);

-- recoveries: each time the agent found the state file lost, older than its mark, or restored. Append-only.
CREATE TABLE recoveries (
    id          bigint PRIMARY KEY,
    at          double precision NOT NULL,
    cause       text COLLATE "C" NOT NULL CHECK (cause IN ('lost', 'older', 'restored')),
    known       bigint,                                      -- the number of events according to the high-water mark
    kept        bigint NOT NULL,                             -- the number of events in the file as it was found
    backup_at   double precision,                            -- when the backup was made; null if the file is not a backup
    scanned_at  double precision,                            -- when the agent listed the dossiers at Assure
    approved_at double precision,                            -- when an operator approved new work
    closed_at   double precision                             -- when the recovery ended
);
CREATE UNIQUE INDEX recoveries_open ON recoveries ((closed_at IS NULL)) WHERE closed_at IS NULL;
CREATE TRIGGER recoveries_are_never_deleted BEFORE DELETE ON recoveries FOR EACH ROW
    EXECUTE FUNCTION refuse('recoveries are append-only');

-- ---- Calls to Assure --------------------------------------------------------------------------------------------------

-- attempts: each call that changes something at Assure. The row is committed before the call is sent.
CREATE TABLE attempts (
    uid         text COLLATE "C" NOT NULL REFERENCES requests (uid),
    number      bigint NOT NULL,
    generation  bigint NOT NULL,
    effect      text COLLATE "C" NOT NULL,
    intended_at double precision NOT NULL,
    answered_at double precision,
    result      text COLLATE "C" CHECK (result = 'done' OR result = 'refused' OR result = 'busy' OR result = 'unknown'),
    status      bigint,
    trouble     text COLLATE "C",
    cause       text COLLATE "C",
    shape       text COLLATE "C",
    digest      text COLLATE "C",
    trace_id    text COLLATE "C",
    words       text COLLATE "C",                            -- the known words of an error body
    PRIMARY KEY (uid, number),
    CHECK ((answered_at IS NULL) = (result IS NULL))
) WITH (fillfactor = 80);

-- starts: the billable act of a generation. [I2] A generation starts at most one process.
CREATE TABLE starts (
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    generation bigint NOT NULL,
    process_id text COLLATE "C",
    at         double precision NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE TRIGGER starts_bind_one_process BEFORE UPDATE ON starts FOR EACH ROW WHEN (OLD.process_id IS DISTINCT FROM NEW.process_id)
    EXECUTE FUNCTION refuse('this generation has started another process');
CREATE INDEX starts_by_time ON starts (at);

-- reservations: starts taken from the budget before the dossier is created. A reservation counts for its day in any case.
CREATE TABLE reservations (
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    generation bigint NOT NULL,
    at         double precision NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE INDEX reservations_by_time ON reservations (at);

-- orphans: references of dossiers that may exist at Assure, because the response to the create call was lost.
CREATE TABLE orphans (
    reference  text COLLATE "C" PRIMARY KEY,
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    since      double precision NOT NULL,
    dossier_id text COLLATE "C",                             -- set when Assure lists the dossier
    closed_at  double precision                              -- when it was confirmed deleted, or the agent stopped searching
);

-- unclaimed_dossiers: dossiers with this agent's id that no request explains, as of the last list of a recovery.
CREATE TABLE unclaimed_dossiers (
    dossier_id text COLLATE "C" PRIMARY KEY,
    reference  text COLLATE "C" NOT NULL,
    seen_at    double precision NOT NULL
);

-- receipts: digests of the ids of Assure Events, kept for a day, so that the agent recognizes a duplicate.
CREATE TABLE receipts (
    digest text COLLATE "C" PRIMARY KEY,
    at     double precision NOT NULL
);
CREATE INDEX receipts_by_time ON receipts (at);

-- ---- Secrets and personal data with an end ----------------------------------------------------------------------------

-- links: capture links. [I6] A link is a bearer secret: it is in this table only, and only while it can be used. It is
-- sealed under a key that the database does not contain, because logs, standbys and backups keep what was deleted.
CREATE TABLE links (
    uid        text COLLATE "C" PRIMARY KEY REFERENCES requests (uid),
    link       text COLLATE "C" NOT NULL,
    created_at double precision NOT NULL
);

-- claims: the encrypted personal data of an accepted result, until it expires. [I6] The keys are not in this file.
CREATE TABLE claims (
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    generation bigint NOT NULL,
    key_id     text COLLATE "C" NOT NULL,                    -- the file in `keys/` with the key that wraps `wrapped`
    wrapped    bytea NOT NULL,                               -- the data key of these claims, wrapped
    ciphertext bytea NOT NULL,
    expires_at double precision NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE INDEX claims_by_time ON claims (expires_at);
CREATE INDEX claims_by_key ON claims (key_id);

-- image_deletions: requests whose image files the agent deletes, because their outcome is durable.
CREATE TABLE image_deletions (
    uid    text COLLATE "C" PRIMARY KEY REFERENCES requests (uid),
    since  double precision NOT NULL,
    tries  bigint NOT NULL DEFAULT 0,
    due_at double precision NOT NULL DEFAULT 0,              -- the next attempt
    cause  text COLLATE "C",                                 -- the errno of the last failure; null before any failure
    how    text COLLATE "C" NOT NULL DEFAULT '{}'            -- JSON: the result for each file that is finished
);

-- superseded_images: files that an earlier generation uploaded and that the current document does not name. The agent
-- deletes them as well. When a file is finished, `path` and `sha256` become null and `how` holds the result.
CREATE TABLE superseded_images (
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    generation bigint NOT NULL,
    depiction  text COLLATE "C" NOT NULL,
    path       text COLLATE "C",
    sha256     text COLLATE "C",
    since      double precision NOT NULL,
    tries      bigint NOT NULL DEFAULT 0,
    due_at     double precision NOT NULL DEFAULT 0,
    cause      text COLLATE "C",
    done_at    double precision,
    how        text COLLATE "C",
    PRIMARY KEY (uid, generation, depiction)
);
CREATE INDEX superseded_images_owed ON superseded_images (due_at) WHERE done_at IS NULL;

-- ---- Sources, counters, outbox ----------------------------------------------------------------------------------------

-- sources: the last scan of each source.
CREATE TABLE sources (
    source    text COLLATE "C" PRIMARY KEY,
    synced_at double precision NOT NULL,
    files     bigint NOT NULL,
    complete  smallint NOT NULL CHECK (complete IN (0, 1)),
    waiting   bigint NOT NULL DEFAULT 0                      -- withdrawals that wait for an approval
);

-- source_revisions: git sources. The revision that the agent acts on, and why it does not act on a newer one. `signer` is
-- personal data of the team; the next revision overwrites it.
CREATE TABLE source_revisions (
    source          text COLLATE "C" PRIMARY KEY,
    revision        text COLLATE "C",                        -- the commit that was scanned last
    committed_at    double precision,
    signer          text COLLATE "C",
    acted_at        double precision,                        -- when that commit was first scanned
    fetched_at      double precision,                        -- when the server last reported its head
    refused         text COLLATE "C",                        -- a fetched commit that the agent does not act on
    refused_reason  text COLLATE "C",
    refused_commit  text COLLATE "C",                        -- the commit that is the reason
    refused_since   double precision,
    failure         text COLLATE "C",                        -- why the last fetch failed
    failing_since   double precision
);

-- refusals: the documents that the last scan refused.
CREATE TABLE refusals (
    source  text COLLATE "C" NOT NULL,
    file    text COLLATE "C" NOT NULL,
    line    bigint NOT NULL,
    col     bigint NOT NULL,
    message text COLLATE "C" NOT NULL,
    hint    text COLLATE "C" NOT NULL,
    name    text COLLATE "C"                                 -- null: the document has no readable name
);

-- scan_notes: results of the last scan that are not in the record of a request. A scan replaces all of them.
CREATE TABLE scan_notes (
    source  text COLLATE "C" NOT NULL,
    uid     text COLLATE "C" NOT NULL REFERENCES requests (uid),
    kind    text COLLATE "C" NOT NULL CHECK (kind IN ('withdrawal-waits', 'stray-answer')),
    hold_id text COLLATE "C" NOT NULL,                       -- the hold that a stray answer names, or empty
    PRIMARY KEY (uid, kind, source)
);

-- withdrawals: files that were removed before the outcome. A file counts for the prune guard even when it came back.
CREATE TABLE withdrawals (
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    generation bigint NOT NULL CHECK (generation > 0),
    at         double precision NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE INDEX withdrawals_by_time ON withdrawals (at);

-- counters: totals that survive a restart. Each is written in the transaction of the change that it counts.
CREATE TABLE counters (
    counter      text COLLATE "C" NOT NULL CHECK (counter IN ('outcome', 'start')),
    mode         text COLLATE "C" NOT NULL,
    process_type text COLLATE "C" NOT NULL,
    outcome      text COLLATE "C" NOT NULL,
    value        bigint NOT NULL,
    PRIMARY KEY (counter, mode, process_type, outcome)
);

-- request_counts: the number of requests of each kind. The agent writes it with each transaction, so that metrics need no scan.
CREATE TABLE request_counts (
    phase    text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,
    reason   text COLLATE "C" NOT NULL,                      -- of the hold, or empty
    dossier  smallint NOT NULL CHECK (dossier IN (0, 1)),    -- 1: the request has a dossier id
    requests bigint NOT NULL,
    PRIMARY KEY (phase, state, reason, dossier)
);

-- deliveries: the outbox. A notification is written in the transaction of its change, and deleted once the sink accepted
-- it. [I6] It holds no name and no label: the agent reads these from `requests` when it sends the notification.
CREATE TABLE deliveries (
    id         bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,    -- the order
    sink       text COLLATE "C" NOT NULL,                    -- a digest of its URL
    event      text COLLATE "C" NOT NULL,                    -- the id that the sink receives; the same for each attempt
    uid        text COLLATE "C" NOT NULL REFERENCES requests (uid),
    type       text COLLATE "C" NOT NULL CHECK (type = 'capture.ready' OR type = 'settled' OR type = 'held' OR type = 'deleted'),
    generation bigint NOT NULL,
    at         double precision NOT NULL,
    outcome    text COLLATE "C",
    reason     text COLLATE "C",
    hold_id    text COLLATE "C"
);
CREATE INDEX deliveries_by_sink ON deliveries (sink, id);

-- meta: texts and times by key, such as the fingerprint of the key file and the time when the operator paused the
-- agent. A time is the text of its number.
CREATE TABLE meta (
    key   text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);
-- The number of the last command and its seal. Empty until the first start, when the agent has the key.
INSERT INTO meta (key, value) VALUES ('commands', '');

-- ---- Views for auditors ---------------------------------------------------------------------------------------------

-- Times are ISO text in UTC. The agent itself does not read these views.
-- Generations, phases, holds and dossiers are derived from events, so a later generation does not hide an earlier one.

-- requests_now: the current state of a request. The name is null once it was forgotten.
CREATE VIEW requests_now AS
SELECT name, uid, source, generation, mode, process_type, phase, state, outcome, hold_reason, dossier_id, process_id, reference,
    present AS file_is_there,
    iso(admitted_at) AS admitted,
    iso(progress_at) AS last_progress,
    iso(due_at) AS next_due_at,
    iso(delete_at) AS deletion_due
FROM requests;

-- history: an event in the order of writing, with the observation and the audited fields that it changed
CREATE VIEW history AS
SELECT events.id AS event, requests.name, events.uid, events.seq,
    iso(events.at) AS time,
    events.type, events.changes, events.hash
FROM events LEFT JOIN requests ON requests.uid = events.uid;

-- generations: a requested verification, with the commit, the author and signer of its file's last change, and the outcome
CREATE VIEW generations AS
WITH begun AS (
    SELECT id, uid, seq, at, (changes::json ->> 'generation')::bigint AS generation,
        lead(seq, 1, 9223372036854775807) OVER (PARTITION BY uid ORDER BY seq) AS until
    FROM events WHERE (changes::json ->> 'generation') IS NOT NULL
)
SELECT requests.name, begun.uid, begun.generation,
    iso(begun.at) AS asked,
    provenance.author, provenance.signer AS signed_by, provenance.file_commit,
    (SELECT (changes::json ->> 'commit') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND changes::json -> 'commit' IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS "commit",
    (SELECT (changes::json ->> 'dirty')::boolean::int FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND changes::json -> 'dirty' IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS file_differed,
    (SELECT (changes::json ->> 'digest') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND changes::json -> 'digest' IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS digest,
    (SELECT (changes::json ->> 'mode') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND changes::json -> 'mode' IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS mode,
    (SELECT (changes::json ->> 'processType') FROM events WHERE events.uid = begun.uid AND events.seq <= begun.seq
        AND changes::json -> 'processType' IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS process_type,
    (SELECT iso(min(events.at)) FROM events
        WHERE events.uid = begun.uid AND events.seq >= begun.seq AND events.seq < begun.until
        AND (changes::json ->> 'billed')::boolean) AS billed,
    (SELECT (changes::json ->> 'outcome') FROM events
        WHERE events.uid = begun.uid AND events.seq >= begun.seq AND events.seq < begun.until
        AND (changes::json ->> 'outcome') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS outcome,
    (SELECT iso((changes::json ->> 'outcomeAt')::double precision) FROM events
        WHERE events.uid = begun.uid AND events.seq >= begun.seq AND events.seq < begun.until
        AND (changes::json ->> 'outcome') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS decided
FROM begun LEFT JOIN requests ON requests.uid = begun.uid
    LEFT JOIN provenance ON provenance.uid = begun.uid AND provenance.generation = begun.generation;

-- phases: the time that a request spent in a phase. `left` is null for the current phase.
CREATE VIEW phases AS
WITH entered AS (
    SELECT uid, seq, at, (changes::json ->> 'phase') AS phase,
        lead(at) OVER (PARTITION BY uid ORDER BY seq) AS until
    FROM events WHERE (changes::json ->> 'phase') IS NOT NULL
)
SELECT requests.name, entered.uid,
    (SELECT (changes::json ->> 'generation')::bigint FROM events WHERE events.uid = entered.uid AND events.seq <= entered.seq
        AND (changes::json ->> 'generation') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS generation,
    entered.phase,
    iso(entered.at) AS entered,
    iso(entered.until) AS "left",
    seconds_between(entered.at, entered.until) AS seconds
FROM entered LEFT JOIN requests ON requests.uid = entered.uid;

-- holds: a hold of a request. `until` is null while it waits for the operator.
CREATE VIEW holds AS
WITH asked AS (
    SELECT uid, seq, at, (changes::json #>> '{hold,id}') AS id, (changes::json #>> '{hold,reason}') AS reason,
        lead(at) OVER (PARTITION BY uid ORDER BY seq) AS until,
        lead(type) OVER (PARTITION BY uid ORDER BY seq) AS ended_by
    FROM events WHERE changes::json -> 'hold' IS NOT NULL
)
SELECT requests.name, asked.uid, asked.id AS hold_id, asked.reason,
    iso(asked.at) AS since,
    iso(asked.until) AS until,
    asked.ended_by, seconds_between(asked.at, asked.until) AS seconds
FROM asked LEFT JOIN requests ON requests.uid = asked.uid WHERE asked.id IS NOT NULL;

-- dossiers: a dossier that the agent created, with the due time of its deletion and the time of its confirmation
CREATE VIEW dossiers AS
WITH known AS (
    SELECT uid, seq, at, (changes::json ->> 'dossierId') AS dossier_id,
        (SELECT min(gone.seq) FROM events AS gone
            WHERE gone.uid = events.uid AND gone.seq > events.seq AND gone.type = 'TargetMissing'
            AND (gone.changes::json ->> 'phase') IN ('done', 'dossier')) AS gone_seq
    FROM events WHERE (changes::json ->> 'dossierId') IS NOT NULL
), timed AS (
    SELECT known.*,
        (SELECT (changes::json ->> 'generation')::bigint FROM events WHERE events.uid = known.uid AND events.seq <= known.seq
            AND (changes::json ->> 'generation') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS generation,
        (SELECT (changes::json ->> 'deleteAt')::double precision FROM events WHERE events.uid = known.uid AND events.seq > known.seq
            AND (known.gone_seq IS NULL OR events.seq < known.gone_seq)
            AND (changes::json ->> 'deleteAt') IS NOT NULL ORDER BY events.seq DESC LIMIT 1) AS due_at,
        (SELECT events.at FROM events WHERE events.uid = known.uid AND events.seq > known.seq
            AND (known.gone_seq IS NULL OR events.seq < known.gone_seq)
            AND (changes::json ->> 'deleted')::boolean ORDER BY events.seq DESC LIMIT 1) AS deleted_at,
        (SELECT gone.at FROM events AS gone WHERE gone.uid = known.uid AND gone.seq = known.gone_seq) AS gone_at,
        (SELECT gone.id FROM events AS gone WHERE gone.uid = known.uid AND gone.seq = known.gone_seq) AS gone_event
    FROM known
)
SELECT requests.name, timed.uid, timed.generation, timed.dossier_id,
    iso(timed.at) AS created,
    iso(timed.due_at) AS deletion_due,
    iso(timed.deleted_at) AS deleted,
    iso(timed.gone_at) AS confirmed_gone,
    seconds_between(timed.due_at, timed.gone_at) AS delay_seconds,
    timed.gone_event AS evidence_event
FROM timed LEFT JOIN requests ON requests.uid = timed.uid;

-- calls: a call that changes something at Assure, and its response. `result` is null until Assure answers.
CREATE VIEW calls AS
SELECT requests.name, attempts.uid, attempts.generation, attempts.number, attempts.effect AS call,
    iso(attempts.intended_at) AS intended,
    iso(attempts.answered_at) AS answered,
    seconds_between(attempts.intended_at, attempts.answered_at) AS seconds,
    attempts.result, attempts.status, attempts.trouble, attempts.cause, attempts.trace_id, attempts.words
FROM attempts LEFT JOIN requests ON requests.uid = attempts.uid;

-- billed_starts: the billable act of a generation, a start or a capture link. A capture has no `process_id`.
CREATE VIEW billed_starts AS
SELECT requests.name, starts.uid, starts.generation,
    iso(starts.at) AS time,
    CASE WHEN starts.process_id IS NULL THEN 'capture' ELSE 'upload' END AS mode, starts.process_id
FROM starts LEFT JOIN requests ON requests.uid = starts.uid;

-- possible_orphans: a dossier that may exist at Assure, because the response to the create call was lost
CREATE VIEW possible_orphans AS
SELECT requests.name, orphans.uid, orphans.reference,
    iso(orphans.since) AS since,
    orphans.dossier_id,
    iso(orphans.closed_at) AS closed,
    CASE WHEN orphans.closed_at IS NULL THEN 'watched' WHEN orphans.dossier_id IS NULL THEN 'never seen'
        ELSE 'deleted and confirmed' END AS came_to
FROM orphans LEFT JOIN requests ON requests.uid = orphans.uid;

-- operator_commands: a command of an operator, and the OS account that sent it
CREATE VIEW operator_commands AS
SELECT iso(commands.at) AS time, commands.verb AS command,
    requests.name, commands.uid, commands.sender
FROM commands LEFT JOIN requests ON requests.uid = commands.uid;

-- checkpoints: the checkpoint lines of the journal, which a state file has in a file next to it. Append-only.
CREATE TABLE checkpoints (
    number bigint PRIMARY KEY,
    line   text COLLATE "C" NOT NULL                         -- one line of JSON
);
CREATE TRIGGER checkpoints_are_never_changed BEFORE UPDATE ON checkpoints FOR EACH ROW
    EXECUTE FUNCTION refuse('checkpoints are append-only');
CREATE TRIGGER checkpoints_are_never_deleted BEFORE DELETE ON checkpoints FOR EACH ROW
    EXECUTE FUNCTION refuse('checkpoints are append-only');

-- ---- Replicas ----------------------------------------------------------------------------------------------------------
-- The state of the replicas while they run. Nothing here is evidence: a copy of the store begins without it.

-- replicas: the lease of each process that writes. Every write locks the row of its own life, and fails without it.
-- Another replica removes a row whose time is over.
CREATE TABLE replicas (
    epoch   uuid PRIMARY KEY,                                -- random, new for each life
    name    text COLLATE "C" NOT NULL,                       -- host:pid
    kind    text COLLATE "C" NOT NULL CHECK (kind IN ('replica', 'command', 'copy')),
    version text COLLATE "C" NOT NULL,                       -- of the agent
    since   timestamptz NOT NULL,
    until   timestamptz NOT NULL,
    timeline text COLLATE "C",                               -- the lineage of the database that this life knows
    marked  bigint,                                          -- the last event that this life knows to be durable
    marked_hash text COLLATE "C",                            -- its hash
    ended   boolean NOT NULL DEFAULT false                   -- transactions were lost: the life may not be renewed
) WITH (fillfactor = 50);

-- fleet: since when replicas have run without a gap. A replica that joins others does not begin the delays again.
CREATE TABLE fleet (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    since double precision NOT NULL,
    timeline text COLLATE "C"                                -- the lineage of the database, after the last roll call
);

-- driving: the replica that processes a request now. A claim counts only while its epoch has a row in `replicas`.
CREATE TABLE driving (
    uid   text COLLATE "C" PRIMARY KEY,
    epoch uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX driving_by_epoch ON driving (epoch);

-- duties: work that one replica does at a time. A turn has the epoch of its holder. Periodic work has its next time.
CREATE TABLE duties (
    name    text COLLATE "C" PRIMARY KEY,
    epoch   uuid,
    next_at timestamptz NOT NULL
);

-- missing_images: the replicas that did not find the image files of a request.
CREATE TABLE missing_images (
    uid   text COLLATE "C" NOT NULL,
    epoch uuid NOT NULL,
    since timestamptz NOT NULL,
    searches bigint NOT NULL,
    PRIMARY KEY (uid, epoch)
);

-- taken_starts: the starts that replicas took from the budget, before their steps were committed.
CREATE TABLE taken_starts (
    uid        text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    day        double precision NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE INDEX taken_starts_by_day ON taken_starts (day);

-- circuit: why the replicas send no calls to Assure. One row; seconds since 1970.
CREATE TABLE circuit (
    one              boolean PRIMARY KEY DEFAULT true CHECK (one),
    cause            text COLLATE "C",                       -- of the open circuit; null: it is closed
    since            double precision,
    interval_seconds double precision,                       -- between two probes
    probe_at         double precision,                       -- the replica that takes the probe sets the next time
    pause_begin      double precision,                       -- Assure asked for a pause by Retry-After
    pause_end        double precision,
    trust_begin      double precision,                       -- the operator confirmed that missing dossiers were deleted
    trust_end        double precision
);

-- missing_dossiers: the unexpected 404 answers since the last dossier that was found; '' for calls without a dossier.
CREATE TABLE missing_dossiers (
    dossier text COLLATE "C" PRIMARY KEY,
    times   bigint NOT NULL
);
