-- The circuit breaker of the whole fleet. Each replica writes its changes, and reads those of the others once a second. All
-- times are seconds since 1970. A null answer: the replica is fenced.

-- open_circuit: open the circuit. An urgent cause replaces another one.
CREATE OR REPLACE FUNCTION open_circuit(
    my_epoch uuid, new_cause text, opened_at double precision, every double precision, next_probe double precision,
    urgent boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO circuit AS c (cause, since, interval_seconds, probe_at) VALUES (new_cause, opened_at, every, next_probe)
    ON CONFLICT (one) DO UPDATE SET cause = new_cause, since = opened_at, interval_seconds = every, probe_at = next_probe
    WHERE c.cause IS NULL OR c.since = opened_at AND c.cause = new_cause OR urgent;  -- the second: a repetition
    RETURN FOUND;
END $$;

-- reschedule_probe: set the next probe of the circuit that was opened for this cause at this time.
CREATE OR REPLACE FUNCTION reschedule_probe(
    my_epoch uuid, my_cause text, opened_at double precision, every double precision, next_probe double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    UPDATE circuit SET interval_seconds = every, probe_at = next_probe WHERE cause = my_cause AND since = opened_at;
    RETURN FOUND;
END $$;

-- close_circuit: close the circuit that was opened for this cause at this time.
CREATE OR REPLACE FUNCTION close_circuit(my_epoch uuid, old_cause text, opened_at double precision) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    UPDATE circuit SET cause = NULL WHERE cause = old_cause AND since = opened_at;
    IF FOUND THEN
        DELETE FROM missing_dossiers;
    END IF;
    RETURN FOUND;
END $$;

-- take_probe: take the due probe of this circuit. If this replica ends before its result, another one probes at `next_probe`.
CREATE OR REPLACE FUNCTION take_probe(
    my_epoch uuid, my_cause text, opened_at double precision, moment double precision, next_probe double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    UPDATE circuit SET probe_at = next_probe WHERE cause = my_cause AND since = opened_at AND probe_at <= moment;
    RETURN FOUND;
END $$;

-- pause_calls: pause all calls until a time, unless they are paused for longer.
CREATE OR REPLACE FUNCTION pause_calls(my_epoch uuid, paused_from double precision, paused_until double precision)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO circuit AS c (pause_begin, pause_end) VALUES (paused_from, paused_until)
    ON CONFLICT (one) DO UPDATE SET pause_begin = paused_from, pause_end = paused_until
    WHERE c.pause_end IS NULL OR c.pause_end < paused_until OR c.pause_begin > paused_from;
    RETURN FOUND;
END $$;

-- trust_missing: trust missing dossiers until a time, and close a circuit that they opened.
CREATE OR REPLACE FUNCTION trust_missing(my_epoch uuid, trusted_from double precision, trusted_until double precision)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO circuit AS c (trust_begin, trust_end) VALUES (trusted_from, trusted_until)
    ON CONFLICT (one) DO UPDATE SET trust_begin = trusted_from, trust_end = trusted_until, cause = nullif(c.cause, 'missing');
    DELETE FROM missing_dossiers;
    RETURN true;
END $$;

-- count_missing: count an unexpected 404 of a dossier, up to `most`. Returns the counts of all dossiers as JSON.
CREATE OR REPLACE FUNCTION count_missing(my_epoch uuid, missing_one text, most bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO missing_dossiers AS m (dossier, times) VALUES (missing_one, 1)
    ON CONFLICT (dossier) DO UPDATE SET times = least(m.times + 1, most);
    RETURN (SELECT json_object_agg(dossier, times) FROM missing_dossiers);
END $$;

-- found_dossier: a dossier exists, so the account is the right one. Forget the missing ones.
CREATE OR REPLACE FUNCTION found_dossier(my_epoch uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    DELETE FROM missing_dossiers;
    RETURN true;
END $$;
