-- append_checkpoint: add a checkpoint. A repetition after a lost answer changes nothing. False: another replica has added
-- this number. Null: the replica is fenced.
CREATE OR REPLACE FUNCTION append_checkpoint(my_epoch uuid, next_number bigint, text_of_line text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    INSERT INTO checkpoints (number, line) VALUES (next_number, text_of_line) ON CONFLICT (number) DO NOTHING;
    RETURN EXISTS (SELECT 1 FROM checkpoints WHERE number = next_number AND line = text_of_line);
END $$;
