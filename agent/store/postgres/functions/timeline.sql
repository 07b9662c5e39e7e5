-- Loss of transactions by a failover or a restore. A new primary has a new timeline at once. No step is committed on it
-- before each life that had a row has shown its last durable event there, or its time is over.

-- wal_timeline: the timeline that the server writes, as 8 hex digits. Any role may read it.
CREATE OR REPLACE FUNCTION wal_timeline() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
$$;

-- lineage: the timeline, the cluster, the database and its table. A restored dump has other numbers of the last two.
CREATE OR REPLACE FUNCTION lineage() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws('/', wal_timeline(), (SELECT system_identifier FROM pg_control_system()),
        (SELECT oid FROM pg_database WHERE datname = current_database()), 'meta'::regclass::oid)
$$;

-- is_foreign: true on another timeline than that of the last roll call.
CREATE OR REPLACE FUNCTION is_foreign() RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT NOT starts_with(timeline, wal_timeline()) FROM fleet), false)
$$;

-- is_unsettled: true while the roll call of a changed lineage is open.
CREATE OR REPLACE FUNCTION is_unsettled() RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT timeline <> lineage() FROM fleet), false)
$$;

-- begin_recovery: transactions were lost. All lives of replicas end: new ones read the recovery before they begin work.
-- Their rows and claims stay until their time is over, because a call may still be under way. The store gets a new
-- identity. The earlier ones are kept, so that the mark of a replica that reports the same loss later begins no recovery.
CREATE OR REPLACE FUNCTION begin_recovery() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moment double precision := extract(epoch FROM clock_timestamp());
BEGIN
    UPDATE recoveries SET closed_at = moment WHERE closed_at IS NULL;
    INSERT INTO recoveries (id, at, cause, kept)
    SELECT (SELECT coalesce(max(id), 0) + 1 FROM recoveries), moment, 'older', (SELECT coalesce(max(id), 0) FROM events);
    INSERT INTO meta AS m (key, value) SELECT 'identities', value FROM meta WHERE key = 'identity'
    ON CONFLICT (key) DO UPDATE SET value = m.value || ' ' || excluded.value;
    UPDATE meta SET value = substr(replace(gen_random_uuid()::text, '-', ''), 1, 16) WHERE key = 'identity';
    UPDATE replicas SET ended = true WHERE kind = 'replica';
    UPDATE fleet SET timeline = lineage();
END $$;

-- call_roll: end the roll call if every life has answered. False: it is still open. A life whose time is over did not
-- answer, and one without any mark proves nothing: then transactions may be lost, and a recovery begins. The caller has
-- the lock of `join_replica`.
CREATE OR REPLACE FUNCTION call_roll() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    now_here text := lineage();
    silent bigint;
    waiting bigint;
    witnesses bigint;
BEGIN
    SELECT count(*) FILTER (WHERE timeline IS DISTINCT FROM now_here AND until > clock_timestamp()),
        count(*) FILTER (WHERE timeline IS DISTINCT FROM now_here AND until <= clock_timestamp()),
        count(*) FILTER (WHERE timeline = now_here AND marked IS NOT NULL)
    INTO waiting, silent, witnesses FROM replicas WHERE kind = 'replica' AND NOT ended;
    IF NOT is_unsettled() THEN
        RETURN true;  -- another replica ended it a moment ago
    ELSIF waiting > 0 THEN
        RETURN false;
    ELSIF silent > 0 OR witnesses = 0 THEN
        PERFORM begin_recovery();
    ELSE
        UPDATE fleet SET timeline = now_here;
    END IF;
    RETURN true;
END $$;

-- begin_store: the facts of a store, by the first of several replicas that begin at once. The others find them.
-- False: one of them was there.
CREATE OR REPLACE FUNCTION begin_store(my_epoch uuid, facts json) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    written bigint := 0;
BEGIN
    IF holds_lease(my_epoch) THEN
        INSERT INTO meta (key, value) SELECT key, value FROM json_each_text(facts) ON CONFLICT (key) DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
    END IF;
    RETURN written = (SELECT count(*) FROM json_object_keys(facts));
END $$;
