-- execute_all: execute statements in their order, all or none. One statement: no transaction ever waits for a client.
-- Returns how many rows each of them changed; null if the agent `my_epoch` does not own the store, and then nothing is
-- written. A statement is a text for `format`. It is executed once for each of its rows in `rows`, an array of arrays of
-- texts for each statement. `format` quotes each text as a literal, which takes the type of its place.
CREATE OR REPLACE FUNCTION execute_all(my_epoch uuid, statements text[], rows json) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    values_of_row json;
    changed bigint;
    counts bigint[] := '{}';
    total bigint;
BEGIN
    IF NOT holds_lease(my_epoch) THEN
        RETURN NULL;
    END IF;
    FOR i IN 1 .. cardinality(statements) LOOP
        total := 0;
        FOR values_of_row IN SELECT x FROM json_array_elements(rows -> (i - 1)) AS x LOOP
            EXECUTE format(statements[i], VARIADIC ARRAY(SELECT json_array_elements_text(values_of_row)));
            GET DIAGNOSTICS changed = ROW_COUNT;
            total := total + changed;
        END LOOP;
        counts := counts || total;
    END LOOP;
    RETURN counts;
END $$;
