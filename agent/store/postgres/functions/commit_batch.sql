-- commit_batch: write the steps of one group commit, all or none. One statement: no transaction ever waits for a client.
--
-- Answers: `done`; `moved` if a stored record has another version than its step expects; `fenced` if another agent has
-- taken the store over. Anything but `done` writes nothing.
--
-- `inserted` and `updated` are rows of `requests` as JSON; an updated row also has `before`, the version that it replaces.
-- Arrays with one prefix are the columns of one kind of row, of equal length. `others` holds the rows of the rarer kinds
-- by kind, each row as an array, in the order of `agent.store.changes.Write`.
CREATE OR REPLACE FUNCTION commit_batch(
    my_epoch uuid, inserted json, updated json,
    event_uid text[], event_seq bigint[], event_at double precision[], event_type text[], event_changes text[], event_hash text[],
    intent_uid text[], intent_number bigint[], intent_generation bigint[], intent_effect text[], intent_at double precision[],
    answer_uid text[], answer_number bigint[], answer_at double precision[], answer_result text[], answer_status bigint[],
    answer_trouble text[], answer_cause text[], answer_shape text[], answer_digest text[], answer_trace_id text[], answer_words text[],
    others json
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    expected bigint;
    matching bigint;
    last_event bigint;
BEGIN
    PERFORM 1 FROM agents WHERE epoch = my_epoch AND until > clock_timestamp() FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN 'fenced';
    END IF;

    IF updated IS NOT NULL THEN
        PERFORM 1 FROM requests WHERE uid IN (SELECT x ->> 'uid' FROM json_array_elements(updated) AS x)
            ORDER BY uid FOR NO KEY UPDATE;
        SELECT count(*), count(r.uid) INTO expected, matching
        FROM json_to_recordset(updated) AS x(uid text, before bigint)
        LEFT JOIN requests r ON r.uid = x.uid AND r.version = x.before;
        IF matching <> expected THEN
            RETURN 'moved';
        END IF;
        UPDATE requests AS r SET
            name = x.name, version = x.version, generation = x.generation, mode = x.mode, process_type = x.process_type,
            phase = x.phase, state = x.state, outcome = x.outcome, hold_reason = x.hold_reason, dossier_id = x.dossier_id,
            process_id = x.process_id, reference = x.reference, present = x.present, moving = x.moving, priority = x.priority,
            due_at = x.due_at, delete_at = x.delete_at, opened_at = x.opened_at, decides_at = x.decides_at, read_at = x.read_at,
            queued = x.queued,
            seq = x.seq, head = x.head, salt = x.salt, record = x.record, progress_at = coalesce(x.progress_at, r.progress_at)
        FROM json_populate_recordset(NULL::requests, updated) AS x WHERE r.uid = x.uid;
    END IF;
    IF inserted IS NOT NULL THEN
        INSERT INTO requests SELECT * FROM json_populate_recordset(NULL::requests, inserted) ON CONFLICT (uid) DO NOTHING;
        GET DIAGNOSTICS matching = ROW_COUNT;
        IF matching <> json_array_length(inserted) THEN
            RAISE EXCEPTION 'moved' USING ERRCODE = 'AA001';  -- undoes what this function wrote
        END IF;
    END IF;

    UPDATE attempts AS a SET answered_at = x.at, result = x.result, status = x.status, trouble = x.trouble, cause = x.cause,
        shape = x.shape, digest = x.digest, trace_id = x.trace_id, words = x.words
    FROM unnest(answer_uid, answer_number, answer_at, answer_result, answer_status, answer_trouble, answer_cause, answer_shape,
        answer_digest, answer_trace_id, answer_words)
        AS x(uid, number, at, result, status, trouble, cause, shape, digest, trace_id, words)
    WHERE a.uid = x.uid AND a.number = x.number;
    INSERT INTO attempts (uid, number, generation, effect, intended_at)
    SELECT * FROM unnest(intent_uid, intent_number, intent_generation, intent_effect, intent_at);

    IF others IS NOT NULL THEN
        PERFORM write_others(others);
    END IF;

    IF event_uid IS NOT NULL THEN
        -- Events are numbered 1, 2, 3, ... in the order of commits. The lock is the last one, and is released after the
        -- commit is visible. The counters follow under the same lock, so that two commits cannot deadlock on them.
        PERFORM pg_advisory_xact_lock('events'::regclass::oid::bigint);
        SELECT coalesce(max(id), 0) INTO last_event FROM events;
        INSERT INTO events (id, uid, seq, at, type, changes, hash)
        SELECT last_event + x.n, x.uid, x.seq, x.at, x.type, x.changes, x.hash
        FROM unnest(event_uid, event_seq, event_at, event_type, event_changes, event_hash)
            WITH ORDINALITY AS x(uid, seq, at, type, changes, hash, n);
    END IF;
    IF others IS NOT NULL THEN
        PERFORM write_counts(others);
    END IF;
    RETURN 'done';
END $$;
