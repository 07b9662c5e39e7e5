-- claim_due: claim due requests for this replica: first new work, then retries and deletions, then polls. A quarter of the
-- places is left to each later kind, however many requests an earlier kind has. No row: nothing is free. A null uid: the
-- replica is fenced. A row has what the next commit of the request needs, so that it reads nothing before.
--
-- `working`: the requests that the replica works on now. It keeps their claims, and loses all others. `parked`: requests
-- that it does not want. `wanted`: requests that it wants although they may not be due. `decided`: instead of all that,
-- requests whose deadline or hold has expired before their outcome.
--
-- A claim counts only while its epoch has a row in `replicas`. So the work of a dead replica is free without a recovery.
CREATE OR REPLACE FUNCTION claim_due(
    my_epoch uuid, moment double precision, most bigint, working text[], parked text[], wanted text[],
    started_only boolean, decided boolean
) RETURNS TABLE (claimed_uid text, claimed_record text, claimed_seq bigint, claimed_head text, claimed_salt text)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    chosen text[] := '{}';
    free text[];
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN QUERY SELECT NULL::text, NULL::text, NULL::bigint, NULL::text, NULL::text;
        RETURN;
    END IF;
    DELETE FROM driving WHERE epoch = my_epoch AND uid <> ALL (working);
    parked := parked || working;
    IF decided THEN
        SELECT array_agg(due.uid) INTO chosen FROM (
            SELECT r.uid FROM requests AS r
            WHERE r.decides_at <= moment AND r.due_at <= moment AND r.uid <> ALL (parked) AND is_free(r.uid)
            ORDER BY r.decides_at LIMIT most FOR NO KEY UPDATE SKIP LOCKED
        ) AS due;
    ELSE
        FOR kind IN REVERSE 2 .. 0 LOOP
            SELECT array_agg(due.uid) INTO free FROM (
                SELECT r.uid FROM requests AS r
                WHERE r.priority = kind AND r.due_at <= moment AND (NOT started_only OR r.opened_at IS NOT NULL)
                    AND r.uid <> ALL (parked) AND is_free(r.uid)
                ORDER BY r.due_at, r.admitted_at LIMIT most FOR NO KEY UPDATE SKIP LOCKED
            ) AS due;
            free := coalesce(free, '{}');
            free := free[1 : greatest(most - cardinality(chosen), most - most / 4)];
            chosen := free || chosen[1 : most - cardinality(free)];
        END LOOP;
        chosen := chosen || ARRAY(SELECT x FROM unnest(wanted) AS x WHERE x <> ALL (parked || chosen));
    END IF;

    INSERT INTO driving AS d (uid, epoch) SELECT x, my_epoch FROM unnest(chosen) AS x ORDER BY x
    ON CONFLICT (uid) DO UPDATE SET epoch = my_epoch
    WHERE NOT EXISTS (SELECT 1 FROM replicas AS living WHERE living.epoch = d.epoch);
    RETURN QUERY
        SELECT r.uid, r.record, r.seq, r.head, r.salt
        FROM unnest(chosen) WITH ORDINALITY AS x(uid, place)
        JOIN driving AS d ON d.uid = x.uid AND d.epoch = my_epoch
        JOIN requests AS r ON r.uid = x.uid
        WHERE x.uid = ANY (wanted) OR r.due_at <= moment  -- the replica before may have finished a moment ago
        ORDER BY x.place;
END $$;

-- is_free: true if no replica that lives has claimed the request.
CREATE OR REPLACE FUNCTION is_free(request text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT 1 FROM driving JOIN replicas USING (epoch) WHERE uid = request)
$$;

-- next_due: when the next request is due that is free, or claimed by this replica and not skipped. Null: none.
CREATE OR REPLACE FUNCTION next_due(my_epoch uuid, skipped text[], started_only boolean) RETURNS double precision
LANGUAGE sql STABLE AS $$
    SELECT min(due.due_at) FROM unnest(ARRAY[2, 1, 0]) AS kind, LATERAL (
        SELECT r.due_at FROM requests AS r
        WHERE r.priority = kind AND r.due_at IS NOT NULL AND (NOT started_only OR r.opened_at IS NOT NULL)
            AND r.uid <> ALL (skipped)
            AND (is_free(r.uid) OR EXISTS (SELECT 1 FROM driving WHERE uid = r.uid AND epoch = my_epoch))
        ORDER BY r.due_at LIMIT 1
    ) AS due
$$;

-- release: release the claims of this replica, except for these requests. False: the replica is fenced.
CREATE OR REPLACE FUNCTION release(my_epoch uuid, working text[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN false;
    END IF;
    DELETE FROM driving WHERE epoch = my_epoch AND uid <> ALL (working);
    RETURN true;
END $$;
