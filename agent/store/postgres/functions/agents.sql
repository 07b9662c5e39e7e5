-- join_agent: begin the life of an agent with this epoch. Null: it owns the store now. Otherwise the name of the agent
-- that owns it, and the seconds until its time is over. A repetition with the same epoch changes nothing but the time.
CREATE OR REPLACE FUNCTION join_agent(my_epoch uuid, my_name text, seconds double precision,
    OUT owner text, OUT remaining double precision) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('agents'::regclass::oid::bigint);
    DELETE FROM agents WHERE until <= clock_timestamp();  -- waits for a commit that still holds the row
    SELECT name, extract(epoch FROM until - clock_timestamp()) INTO owner, remaining
    FROM agents WHERE epoch <> my_epoch ORDER BY until DESC LIMIT 1;
    IF owner IS NULL THEN
        INSERT INTO agents (epoch, name, since, until)
        VALUES (my_epoch, my_name, clock_timestamp(), clock_timestamp() + make_interval(secs => seconds))
        ON CONFLICT (epoch) DO UPDATE SET until = excluded.until;
    END IF;
END $$;

-- renew_agent: extend the life of this epoch. False: another agent has removed it. A row whose time is over may be
-- renewed: while it is there, no other agent has joined.
CREATE OR REPLACE FUNCTION renew_agent(my_epoch uuid, seconds double precision) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE agents SET until = clock_timestamp() + make_interval(secs => seconds) WHERE epoch = my_epoch;
    RETURN FOUND;
END $$;
