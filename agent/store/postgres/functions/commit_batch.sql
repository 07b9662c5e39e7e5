-- commit_batch: write the steps of one group commit, all or none. One statement: no transaction ever waits for a client.
--
-- Answers: `done`; `moved` if a stored row is not the one that its step expects; `fenced` if the agent `my_epoch` does not
-- own the store. Anything but `done` writes nothing. The error AA001 also means `moved`, and undoes what was written.
-- `last_event` is the id of the last event that was written, or null.
--
-- `inserted` and `updated` are rows of `requests` as JSON. An updated row also has `before` and `before_seq`: version and
-- seq of the row that it replaces. A null `progress_at` keeps the stored one. Arrays with one prefix are the columns of
-- one kind of row, of equal length. `others` has the rows of the rarer kinds by kind, each row as an array. Their order is
-- that of `agent.store.changes.Write`. `counts` has the rows that several requests share.
--
-- Locks, in this order for every caller, so that none waits for another in a circle: the agent, requests by uid, the
-- journal. `enable_*`: a plan that was made while a table was small must not scan it once it has grown. With them there is
-- one good plan for any values, so that no commit makes plans: that is a seventh of the server's CPU.
CREATE OR REPLACE FUNCTION commit_batch(
    my_epoch uuid, inserted json, updated json,
    event_uid text[], event_seq bigint[], event_at double precision[], event_type text[], event_changes text[],
    event_hash text[],
    intent_uid text[], intent_number bigint[], intent_generation bigint[], intent_effect text[],
    intent_at double precision[],
    answer_at double precision[], answer_result text[], answer_status bigint[], answer_trouble text[],
    answer_cause text[], answer_shape text[], answer_digest text[], answer_trace_id text[], answer_words text[],
    answer_uid text[], answer_number bigint[],
    others json, counts json,
    OUT outcome text, OUT last_event bigint
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    expected bigint;
    matching bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- another snapshot would not show what the locks waited for
        RAISE EXCEPTION 'the isolation is %', current_setting('transaction_isolation') USING ERRCODE = 'AA003';
    END IF;
    IF NOT holds_lease(my_epoch) OR is_foreign() THEN
        outcome := 'fenced';
        RETURN;
    END IF;

    IF updated IS NOT NULL THEN
        PERFORM 1 FROM requests WHERE uid IN (SELECT x ->> 'uid' FROM json_array_elements(updated) AS x)
            ORDER BY uid FOR NO KEY UPDATE;
        SELECT count(*), count(r.uid) INTO expected, matching
        FROM json_to_recordset(updated) AS x(uid text, before bigint, before_seq bigint)
        LEFT JOIN requests AS r ON r.uid = x.uid AND r.version = x.before AND r.seq = x.before_seq;
        IF matching <> expected THEN
            outcome := 'moved';
            RETURN;
        END IF;
        UPDATE requests AS r SET
            name = x.name, source = x.source, version = x.version, seq = x.seq, head = x.head, generation = x.generation,
            mode = x.mode, process_type = x.process_type, phase = x.phase, state = x.state, outcome = x.outcome,
            hold_reason = x.hold_reason, dossier_id = x.dossier_id, process_id = x.process_id, reference = x.reference,
            present = x.present, moving = x.moving, priority = x.priority, due_at = x.due_at, admitted_at = x.admitted_at,
            opened_at = x.opened_at, read_at = x.read_at, queued = x.queued,
            progress_at = coalesce(x.progress_at, r.progress_at), delete_at = x.delete_at, record = x.record,
            decides_at = x.decides_at, salt = x.salt
        FROM json_populate_recordset(NULL::requests, updated) AS x WHERE r.uid = x.uid;
    END IF;
    IF inserted IS NOT NULL THEN
        INSERT INTO requests SELECT * FROM json_populate_recordset(NULL::requests, inserted) AS x ORDER BY x.uid
        ON CONFLICT (uid) DO NOTHING;
        GET DIAGNOSTICS matching = ROW_COUNT;
        IF matching <> json_array_length(inserted) THEN
            RAISE EXCEPTION 'moved' USING ERRCODE = 'AA001';
        END IF;
    END IF;

    UPDATE attempts AS a SET answered_at = x.at, result = x.result, status = x.status, trouble = x.trouble, cause = x.cause,
        shape = x.shape, digest = x.digest, trace_id = x.trace_id, words = x.words
    FROM unnest(answer_at, answer_result, answer_status, answer_trouble, answer_cause, answer_shape, answer_digest,
        answer_trace_id, answer_words, answer_uid, answer_number)
        AS x(at, result, status, trouble, cause, shape, digest, trace_id, words, uid, number)
    WHERE a.uid = x.uid AND a.number = x.number;
    INSERT INTO attempts (uid, number, generation, effect, intended_at)
    SELECT * FROM unnest(intent_uid, intent_number, intent_generation, intent_effect, intent_at);
    IF others IS NOT NULL THEN
        PERFORM write_others(others);
    END IF;

    IF event_uid IS NOT NULL OR counts IS NOT NULL THEN
        -- Events are numbered 1, 2, 3, ... in the order of commits: the lock is released after the commit is visible.
        PERFORM pg_advisory_xact_lock('events'::regclass::oid::bigint);
    END IF;
    IF event_uid IS NOT NULL THEN
        SELECT coalesce(max(id), 0) INTO last_event FROM events;
        INSERT INTO events (id, uid, seq, at, type, changes, hash)
        SELECT last_event + x.n, x.uid, x.seq, x.at, x.type, x.changes, x.hash
        FROM unnest(event_uid, event_seq, event_at, event_type, event_changes, event_hash)
            WITH ORDINALITY AS x(uid, seq, at, type, changes, hash, n);
        last_event := last_event + cardinality(event_uid);
    END IF;
    IF counts IS NOT NULL THEN
        PERFORM write_counts(counts);
    END IF;
    outcome := 'done';
END $$;
