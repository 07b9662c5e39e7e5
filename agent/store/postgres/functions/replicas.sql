-- join_replica: begin the life of a process with this epoch. `running_since`: since when replicas run without a gap, in
-- seconds since 1970. A repetition with the same epoch changes nothing but the time.
--
-- Replicas and commands may live together. A copy needs the database alone. `other` is a process that prevents it, with its
-- kind and the seconds until its time is over. Then this life has not begun.
--
-- `former`: the life before of this state folder. Its mark speaks for it in a roll call. `unsettled`: a roll call is open.
CREATE OR REPLACE FUNCTION join_replica(
    my_epoch uuid, my_name text, my_kind text, my_version text, seconds double precision, former uuid,
    OUT running_since double precision, OUT other text, OUT other_kind text, OUT remaining double precision,
    OUT moment double precision, OUT unsettled boolean
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('replicas'::regclass::oid::bigint);
    PERFORM remove_ended();
    SELECT name, kind, extract(epoch FROM until - clock_timestamp()) INTO other, other_kind, remaining
    FROM replicas WHERE epoch <> my_epoch AND (my_kind = 'copy' OR kind = 'copy') ORDER BY until DESC LIMIT 1;
    IF other IS NOT NULL THEN
        RETURN;
    END IF;
    IF my_kind = 'replica' AND NOT EXISTS (SELECT 1 FROM replicas WHERE kind = 'replica' AND until > clock_timestamp()) THEN
        INSERT INTO fleet AS f (since, timeline) VALUES (extract(epoch FROM clock_timestamp()), lineage())
        ON CONFLICT (one) DO UPDATE SET since = excluded.since;
        DELETE FROM circuit;  -- of an earlier fleet, which no replica probes
        DELETE FROM missing_dossiers;
    END IF;
    UPDATE replicas SET timeline = lineage() WHERE epoch = former;
    INSERT INTO replicas (epoch, name, kind, version, since, until, timeline)
    VALUES (my_epoch, my_name, my_kind, my_version, clock_timestamp(), clock_timestamp() + make_interval(secs => seconds),
        (SELECT f.timeline FROM fleet AS f))
    ON CONFLICT (epoch) DO UPDATE SET until = excluded.until;
    SELECT f.since INTO running_since FROM fleet AS f;
    moment := extract(epoch FROM clock_timestamp());
    running_since := coalesce(running_since, moment);
    unsettled := is_unsettled();
END $$;

-- holds_lease: the fence. True if this replica may write. No other one can remove its row before the end of the transaction.
-- The answer to the transaction means that it is durable [I4]. Each function that writes for a replica calls this one.
CREATE OR REPLACE FUNCTION holds_lease(my_epoch uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM 1 FROM replicas WHERE epoch = my_epoch AND until > clock_timestamp() AND NOT ended FOR KEY SHARE;
    RETURN FOUND;
END $$;

-- remove_ended: remove the rows whose time is over, with their claims and turns. A commit that still holds a row keeps it
-- until the next call: a renewal must not wait for another replica.
CREATE OR REPLACE FUNCTION remove_ended() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ended uuid[];
BEGIN
    IF is_unsettled() THEN
        RETURN;  -- the roll call needs the rows of the lives that do not answer
    END IF;
    WITH over AS (SELECT epoch FROM replicas WHERE until <= clock_timestamp() FOR UPDATE SKIP LOCKED),
        removed AS (DELETE FROM replicas WHERE epoch IN (SELECT epoch FROM over) RETURNING epoch)
    SELECT array_agg(epoch) INTO ended FROM removed;
    IF ended IS NOT NULL THEN
        DELETE FROM driving WHERE epoch = ANY (ended);
        DELETE FROM missing_images WHERE epoch = ANY (ended);
    END IF;
END $$;

-- renew_replica: extend the life of this epoch. Not `alive`: its time was over, and another process has removed it, or
-- transactions were lost. `event` and `event_hash`: the last event that the life knows to be durable; null: it knows none.
-- `settled`: false while a roll call is open. `behind`: that event is missing or is another one, so transactions were lost.
-- `moment` is the time of the server. `last_event` is the last one of the journal, with its hash. It is durable when the
-- answer arrives: the renewal follows it in the log of the server.
CREATE OR REPLACE FUNCTION renew_replica(
    my_epoch uuid, seconds double precision, event bigint, event_hash text,
    OUT alive boolean, OUT settled boolean, OUT behind boolean, OUT moment double precision,
    OUT last_event bigint, OUT last_hash text
) LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    behind := coalesce(event, 0) > 0 AND NOT EXISTS (SELECT 1 FROM events WHERE id = event AND hash = event_hash);
    IF behind OR is_unsettled() THEN  -- before the row, because a recovery changes all rows
        PERFORM pg_advisory_xact_lock('replicas'::regclass::oid::bigint);
    END IF;
    UPDATE replicas SET until = clock_timestamp() + make_interval(secs => seconds), timeline = lineage(), marked = event,
        marked_hash = event_hash
    WHERE epoch = my_epoch AND NOT ended;
    alive := FOUND;
    settled := true;
    IF alive AND behind THEN
        PERFORM begin_recovery();
    ELSIF alive AND is_unsettled() THEN
        settled := call_roll();
    END IF;
    alive := alive AND NOT coalesce((SELECT ended FROM replicas WHERE epoch = my_epoch), true);
    PERFORM remove_ended();
    SELECT id, hash INTO last_event, last_hash FROM events ORDER BY id DESC LIMIT 1;
    moment := extract(epoch FROM clock_timestamp());
END $$;

-- leave_replica: end the life of this epoch, so that others continue its work at once.
CREATE OR REPLACE FUNCTION leave_replica(my_epoch uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM replicas WHERE epoch = my_epoch;
    DELETE FROM driving WHERE epoch = my_epoch;
    DELETE FROM duties WHERE epoch = my_epoch;
    DELETE FROM missing_images WHERE epoch = my_epoch;
END $$;
