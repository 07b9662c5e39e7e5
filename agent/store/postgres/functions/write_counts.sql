-- write_counts: the rows of a group commit that requests share: counters, receipts and the command. `commit_batch` calls
-- it under the lock of the journal, so that two commits never wait for each other here.
CREATE OR REPLACE FUNCTION write_counts(counts json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO counters AS c (counter, mode, process_type, outcome, value)
    SELECT x ->> 0, x ->> 1, x ->> 2, x ->> 3, (x ->> 4)::bigint FROM json_array_elements(counts -> 'counters') AS x
    ON CONFLICT (counter, mode, process_type, outcome) DO UPDATE SET value = c.value + excluded.value;
    INSERT INTO request_counts AS c (phase, state, reason, dossier, requests)
    SELECT x ->> 0, x ->> 1, x ->> 2, (x ->> 3)::smallint, (x ->> 4)::bigint
    FROM json_array_elements(counts -> 'request_counts') AS x
    ON CONFLICT (phase, state, reason, dossier) DO UPDATE SET requests = c.requests + excluded.requests;
    IF counts -> 'receipts' IS NOT NULL THEN
        INSERT INTO receipts (digest, at)
        SELECT x ->> 0, (x ->> 1)::double precision FROM json_array_elements(counts -> 'receipts') AS x
        ON CONFLICT DO NOTHING;
        DELETE FROM receipts WHERE at < (counts ->> 'forget_before')::double precision;
    END IF;
    IF counts -> 'command' IS NOT NULL THEN
        BEGIN
            INSERT INTO commands (number, id, at, verb, uid, sender, answer, hash)
            SELECT (x ->> 0)::bigint, x ->> 1, (x ->> 2)::double precision, x ->> 3, x ->> 4, x ->> 5, x ->> 6, x ->> 7
            FROM (SELECT counts -> 'command' AS x) AS one;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION 'moved' USING ERRCODE = 'AA001';  -- another command has this number, or the id was applied
        END;
        INSERT INTO meta (key, value) VALUES ('commands', counts ->> 'commands_note')
        ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    END IF;
END $$;
