-- Views for people: plain names, one meaning a row, times as ISO text in UTC. Nothing of the agent reads them.
-- What a generation was and did is told by its events, so that it is still told when a later generation has begun.

-- requests_now: a request as it is now; the name is null once it was forgotten
CREATE VIEW requests_now AS
SELECT name, uid, source, generation, mode, process_type, phase, state, outcome, hold_reason, dossier_id, process_id, reference,
    present AS file_is_there,
    strftime('%Y-%m-%dT%H:%M:%fZ', admitted_at, 'unixepoch') AS admitted,
    strftime('%Y-%m-%dT%H:%M:%fZ', progress_at, 'unixepoch') AS last_progress,
    strftime('%Y-%m-%dT%H:%M:%fZ', due_at, 'unixepoch') AS looked_at_again,
    strftime('%Y-%m-%dT%H:%M:%fZ', delete_at, 'unixepoch') AS deletion_due
FROM requests;

-- history: an event, in the order of writing: what was observed, and the audited fields that changed with it
CREATE VIEW history AS
SELECT events.id AS event, requests.name, events.uid, events.seq,
    strftime('%Y-%m-%dT%H:%M:%fZ', events.at, 'unixepoch') AS time,
    events.type, events.changes, events.hash
FROM events LEFT JOIN requests ON requests.uid = events.uid;

-- generations: a verification that was asked for: by whom (the author of the commit), from which commit, how it ended
CREATE VIEW generations AS
WITH begun AS (
    SELECT id, uid, seq, at, json_extract(changes, '$.generation') AS generation,
        lead(seq, 1, 1e18) OVER (PARTITION BY uid ORDER BY seq) AS until
    FROM events WHERE json_extract(changes, '$.generation') IS NOT NULL
)
SELECT requests.name, begun.uid, begun.generation,
    strftime('%Y-%m-%dT%H:%M:%fZ', begun.at, 'unixepoch') AS asked,
    (SELECT author FROM provenance WHERE provenance.uid = begun.uid AND provenance.generation = begun.generation) AS author,
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
FROM begun LEFT JOIN requests ON requests.uid = begun.uid;

-- phases: the time that a request spent in a phase; `left` is null while it is there
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

-- holds: a question to a person; `until` is null while it is open
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

-- dossiers: a dossier of ours at Assure: when it was due to be deleted, and when it was confirmed to be gone
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

-- calls: a call that changes something at Assure, and its answer; `result` is null while there is none
CREATE VIEW calls AS
SELECT requests.name, attempts.uid, attempts.generation, attempts.number, attempts.effect AS call,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.intended_at, 'unixepoch') AS intended,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.answered_at, 'unixepoch') AS answered,
    round(attempts.answered_at - attempts.intended_at, 3) AS seconds,
    attempts.result, attempts.status, attempts.trouble, attempts.cause, attempts.trace_id
FROM attempts LEFT JOIN requests ON requests.uid = attempts.uid;

-- billed_starts: the billable act of a generation: a start, or a capture link that was handed out (no process then)
CREATE VIEW billed_starts AS
SELECT requests.name, starts.uid, starts.generation,
    strftime('%Y-%m-%dT%H:%M:%fZ', starts.at, 'unixepoch') AS time,
    CASE WHEN starts.process_id IS NULL THEN 'capture' ELSE 'upload' END AS mode, starts.process_id
FROM starts LEFT JOIN requests ON requests.uid = starts.uid;

-- possible_orphans: a dossier that may exist at Assure, because the answer to its creation was lost
CREATE VIEW possible_orphans AS
SELECT requests.name, orphans.uid, orphans.reference,
    strftime('%Y-%m-%dT%H:%M:%fZ', orphans.since, 'unixepoch') AS since,
    orphans.dossier_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', orphans.closed_at, 'unixepoch') AS closed,
    CASE WHEN orphans.closed_at IS NULL THEN 'watched' WHEN orphans.dossier_id IS NULL THEN 'never seen'
        ELSE 'deleted and confirmed' END AS came_to
FROM orphans LEFT JOIN requests ON requests.uid = orphans.uid;

-- told: what a person told the agent
CREATE VIEW told AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', commands.at, 'unixepoch') AS time, commands.verb AS command,
    requests.name, commands.uid
FROM commands LEFT JOIN requests ON requests.uid = commands.uid;
