-- join_replica: begin the life of a process with this epoch. `running_since`: since when replicas run without a gap, in
-- seconds since 1970. A repetition with the same epoch changes nothing but the time.
--
-- Replicas and commands may live together. A copy needs the database alone: `other` is the name of a process that
-- prevents it, with its kind and the seconds until its time is over. Then this life has not begun.
CREATE OR REPLACE FUNCTION join_replica(
    my_epoch uuid, my_name text, my_kind text, my_version text, seconds double precision,
    OUT running_since double precision, OUT other text, OUT other_kind text, OUT remaining double precision
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
        INSERT INTO fleet AS f (since) VALUES (extract(epoch FROM clock_timestamp()))
        ON CONFLICT (one) DO UPDATE SET since = excluded.since;
    END IF;
    INSERT INTO replicas (epoch, name, kind, version, since, until)
    VALUES (my_epoch, my_name, my_kind, my_version, clock_timestamp(), clock_timestamp() + make_interval(secs => seconds))
    ON CONFLICT (epoch) DO UPDATE SET until = excluded.until;
    SELECT f.since INTO running_since FROM fleet AS f;
    running_since := coalesce(running_since, extract(epoch FROM clock_timestamp()));
END $$;

-- remove_ended: remove the rows whose time is over, with their claims and turns. A commit that still holds a row keeps it
-- until the next call: a renewal must not wait for another replica.
CREATE OR REPLACE FUNCTION remove_ended() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ended uuid[];
BEGIN
    WITH over AS (SELECT epoch FROM replicas WHERE until <= clock_timestamp() FOR UPDATE SKIP LOCKED),
        removed AS (DELETE FROM replicas WHERE epoch IN (SELECT epoch FROM over) RETURNING epoch)
    SELECT array_agg(epoch) INTO ended FROM removed;
    IF ended IS NOT NULL THEN
        DELETE FROM driving WHERE epoch = ANY (ended);
        DELETE FROM missing_images WHERE epoch = ANY (ended);
    END IF;
END $$;

-- renew_replica: extend the life of this epoch. False: its time was over, and another process has removed it.
CREATE OR REPLACE FUNCTION renew_replica(my_epoch uuid, seconds double precision) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    alive boolean;
BEGIN
    UPDATE replicas SET until = clock_timestamp() + make_interval(secs => seconds) WHERE epoch = my_epoch;
    alive := FOUND;
    PERFORM remove_ended();
    RETURN alive;
END $$;

-- leave_replica: end the life of this epoch, so that others continue its work at once.
CREATE OR REPLACE FUNCTION leave_replica(my_epoch uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM replicas WHERE epoch = my_epoch;
    DELETE FROM driving WHERE epoch = my_epoch;
    DELETE FROM duties WHERE epoch = my_epoch;
    DELETE FROM missing_images WHERE epoch = my_epoch;
END $$;
