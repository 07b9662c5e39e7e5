-- take_duty: true if no replica took this periodic duty in the last `every` seconds. Null: the replica is fenced.
CREATE OR REPLACE FUNCTION take_duty(my_epoch uuid, duty text, moment double precision, every double precision) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM replicas WHERE epoch = my_epoch AND until > clock_timestamp() FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO duties AS d (name, next_at) VALUES (duty, moment + every)
    ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at WHERE moment >= d.next_at OR moment < d.next_at - every;
    RETURN FOUND;
END $$;

-- hold_turn: true if this replica has the turn now. A turn whose holder has no row in `replicas` is free. Null: the
-- replica is fenced.
CREATE OR REPLACE FUNCTION hold_turn(my_epoch uuid, duty text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM replicas WHERE epoch = my_epoch AND until > clock_timestamp() FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM duties WHERE name = duty AND epoch = my_epoch;
    IF FOUND THEN
        RETURN true;
    END IF;
    INSERT INTO duties AS d (name, epoch, next_at) VALUES (duty, my_epoch, 0)
    ON CONFLICT (name) DO UPDATE SET epoch = my_epoch
    WHERE NOT EXISTS (SELECT 1 FROM replicas AS living WHERE living.epoch = d.epoch);
    RETURN FOUND;
END $$;
