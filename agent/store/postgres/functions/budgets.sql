-- take_start: take one start of the budget of a day that all replicas share. `granted` is null if the replica is fenced.
-- `taken` counts the starts of the day. The first call of a day counts the starts from before the limit was set.
CREATE OR REPLACE FUNCTION take_start(
    my_epoch uuid, request text, for_generation bigint, day_begin double precision, most bigint,
    OUT granted boolean, OUT taken bigint
) LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM 1 FROM replicas WHERE epoch = my_epoch AND until > clock_timestamp() AND NOT ended FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock('budgets'::regclass::oid::bigint);
    INSERT INTO budgets (day, counted)
    SELECT day_begin, starts_since(day_begin) WHERE NOT EXISTS (SELECT 1 FROM budgets WHERE day = day_begin);
    SELECT b.counted + (SELECT count(*) FROM taken_starts WHERE day = day_begin) INTO taken
    FROM budgets AS b WHERE b.day = day_begin;
    granted := EXISTS (SELECT 1 FROM taken_starts WHERE uid = request AND generation = for_generation AND day = day_begin)
        OR EXISTS (SELECT 1 FROM reservations WHERE uid = request AND generation = for_generation AND at >= day_begin);
    IF NOT granted AND taken < most THEN
        INSERT INTO taken_starts (uid, generation, day) VALUES (request, for_generation, day_begin)
        ON CONFLICT (uid, generation) DO UPDATE SET day = excluded.day;
        granted := true;
        taken := taken + 1;
        DELETE FROM budgets WHERE day < day_begin - 7 * 86400;
        DELETE FROM taken_starts WHERE day < day_begin - 7 * 86400;
    END IF;
END $$;

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
