-- starts_since: how many starts count since then: reserved ones, and those made or begun without a budget.
CREATE OR REPLACE FUNCTION starts_since(since double precision) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (SELECT count(*) FROM reservations WHERE at >= since)
        + (SELECT count(*) FROM starts WHERE at >= since AND NOT EXISTS
            (SELECT 1 FROM reservations WHERE uid = starts.uid AND generation = starts.generation))
        + (SELECT count(*) FROM requests
            WHERE phase IN ('process', 'images', 'verification')
            AND NOT EXISTS (SELECT 1 FROM reservations WHERE uid = requests.uid AND generation = requests.generation)
            AND NOT EXISTS (SELECT 1 FROM starts WHERE uid = requests.uid AND generation = requests.generation))
$$;

-- budget_starts: the starts of a day that count for the budget. A start that was taken counts before its step is committed.
CREATE OR REPLACE FUNCTION budget_starts(day_begin double precision) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT starts_since(day_begin) + (SELECT count(*) FROM taken_starts AS t WHERE t.day = day_begin
        AND NOT EXISTS (SELECT 1 FROM reservations AS r WHERE r.uid = t.uid AND r.generation = t.generation)
        AND NOT EXISTS (SELECT 1 FROM starts AS s WHERE s.uid = t.uid AND s.generation = t.generation))
$$;

-- take_start: take one start of the budget of a day that all replicas share. `granted` is null if the replica is fenced.
-- `taken` counts all starts of the day, also those of a replica without a limit.
CREATE OR REPLACE FUNCTION take_start(
    my_epoch uuid, request text, for_generation bigint, day_begin double precision, most bigint,
    OUT granted boolean, OUT taken bigint
) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock('taken_starts'::regclass::oid::bigint);
    taken := budget_starts(day_begin);
    granted := EXISTS (SELECT 1 FROM taken_starts WHERE uid = request AND generation = for_generation AND day = day_begin)
        OR EXISTS (SELECT 1 FROM reservations WHERE uid = request AND generation = for_generation AND at >= day_begin);
    IF NOT granted AND taken < most THEN
        INSERT INTO taken_starts (uid, generation, day) VALUES (request, for_generation, day_begin)
        ON CONFLICT (uid, generation) DO UPDATE SET day = excluded.day;
        granted := true;
        taken := taken + 1;
        DELETE FROM taken_starts WHERE day < day_begin - 7 * 86400;
    END IF;
END $$;
