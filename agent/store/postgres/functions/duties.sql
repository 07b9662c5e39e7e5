-- take_duty: take periodic work for this replica. False: another replica that lives took it less than so many seconds ago,
-- by the clock of the server. The replica that took it last may take it again, because its own timer decides when. Null: the
-- replica is fenced. A time further away than one interval means that the clock of the server was set back.
CREATE OR REPLACE FUNCTION take_duty(my_epoch uuid, duty text, every double precision) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO duties AS d (name, epoch, next_at)
    VALUES (duty, my_epoch, clock_timestamp() + make_interval(secs => every))
    ON CONFLICT (name) DO UPDATE SET epoch = my_epoch, next_at = excluded.next_at
    WHERE d.next_at <= clock_timestamp() OR d.next_at > clock_timestamp() + make_interval(secs => every)
        OR d.epoch = my_epoch OR NOT EXISTS (SELECT 1 FROM replicas AS living WHERE living.epoch = d.epoch);
    RETURN FOUND;
END $$;

-- hold_turn: take a turn that no living replica has, or keep one that this replica has. Null: the replica is fenced.
--
-- A turn moves only when its holder gives it back, or when the row of the holder in `replicas` is gone. Every write of the
-- holder locks that row. So nothing that an earlier holder began is written after the turn has moved.
CREATE OR REPLACE FUNCTION hold_turn(my_epoch uuid, duty text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    holder uuid;
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    SELECT epoch INTO holder FROM duties WHERE name = duty;
    IF holder = my_epoch THEN
        RETURN true;
    ELSIF EXISTS (SELECT 1 FROM replicas WHERE epoch = holder) THEN
        RETURN false;
    END IF;
    INSERT INTO duties (name, next_at) VALUES (duty, clock_timestamp()) ON CONFLICT (name) DO NOTHING;
    SELECT epoch INTO holder FROM duties WHERE name = duty FOR UPDATE;  -- another replica may have taken it meanwhile
    IF holder <> my_epoch AND EXISTS (SELECT 1 FROM replicas WHERE epoch = holder) THEN
        RETURN false;
    END IF;
    UPDATE duties SET epoch = my_epoch, next_at = clock_timestamp() WHERE name = duty;
    RETURN true;
END $$;

-- release_turn: give a turn back, so that another replica may take it at once.
CREATE OR REPLACE FUNCTION release_turn(my_epoch uuid, duty text) RETURNS void LANGUAGE sql AS $$
    UPDATE duties SET epoch = NULL WHERE name = duty AND epoch = my_epoch
$$;

-- note_missing_image: note that this replica did not find an image of a request. True: the file is missing for the whole
-- fleet. Then there were `enough` searches in at least `seconds`, by two living replicas, or by the only one. Null: fenced.
CREATE OR REPLACE FUNCTION note_missing_image(
    my_epoch uuid, request text, moment double precision, enough bigint, seconds double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    seen bigint;
    living bigint;
    total bigint;
    first timestamptz;
    oldest timestamptz := to_timestamp(moment) - make_interval(secs => 10 * seconds);  -- an earlier note is of another search
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO missing_images AS m (uid, epoch, since, searches) VALUES (request, my_epoch, to_timestamp(moment), 1)
    ON CONFLICT (uid, epoch) DO UPDATE SET
        searches = CASE WHEN m.since > oldest THEN m.searches + 1 ELSE 1 END,
        since = CASE WHEN m.since > oldest THEN m.since ELSE excluded.since END;
    SELECT count(*), sum(m.searches), min(m.since) INTO seen, total, first
    FROM missing_images AS m JOIN replicas USING (epoch) WHERE m.uid = request AND m.since > oldest;
    SELECT count(*) INTO living FROM replicas WHERE kind = 'replica' AND until > clock_timestamp();
    RETURN seen >= least(2, greatest(1, living)) AND total >= enough
        AND first <= to_timestamp(moment) - make_interval(secs => seconds);
END $$;

-- found_images: forget who did not find the images of a request.
CREATE OR REPLACE FUNCTION found_images(my_epoch uuid, request text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF holds_lease(my_epoch) THEN
        DELETE FROM missing_images WHERE uid = request;
    END IF;
END $$;
