-- write_others: the rows of the rarer kinds of a group commit, by kind. Called by `commit_batch`.
CREATE OR REPLACE FUNCTION write_others(others json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO starts (uid, generation, process_id, at)
    SELECT x ->> 0, (x ->> 1)::bigint, x ->> 2, (x ->> 3)::double precision FROM json_array_elements(others -> 'start') AS x
    ON CONFLICT (uid, generation) DO UPDATE SET process_id = excluded.process_id;
    INSERT INTO reservations (uid, generation, at)
    SELECT x ->> 0, (x ->> 1)::bigint, (x ->> 2)::double precision FROM json_array_elements(others -> 'reserved') AS x
    ON CONFLICT DO NOTHING;
    INSERT INTO provenance (uid, generation, file, author, file_commit, signer)
    SELECT x ->> 0, (x ->> 1)::bigint, x ->> 2, x ->> 3, x ->> 4, x ->> 5
    FROM json_array_elements(others -> 'provenance') AS x
    ON CONFLICT (uid, generation) DO UPDATE SET file = excluded.file, author = excluded.author,
        file_commit = excluded.file_commit, signer = excluded.signer;
    INSERT INTO withdrawals (uid, generation, at)
    SELECT x ->> 0, (x ->> 1)::bigint, (x ->> 2)::double precision FROM json_array_elements(others -> 'withdrawn') AS x
    ON CONFLICT (uid, generation) DO UPDATE SET at = excluded.at;
    DELETE FROM labels WHERE uid IN (SELECT x ->> 0 FROM json_array_elements(others -> 'unlabeled') AS x);
    INSERT INTO labels (key, value, uid)
    SELECT x ->> 0, x ->> 1, x ->> 2 FROM json_array_elements(others -> 'label') AS x;
    INSERT INTO deliveries (sink, event, uid, type, generation, at, outcome, reason, hold_id)
    SELECT x ->> 0, x ->> 1, x ->> 2, x ->> 3, (x ->> 4)::bigint, (x ->> 5)::double precision, x ->> 6, x ->> 7, x ->> 8
    FROM json_array_elements(others -> 'delivery') AS x;
    INSERT INTO links (uid, link, created_at)
    SELECT x ->> 0, x ->> 1, (x ->> 2)::double precision FROM json_array_elements(others -> 'link') AS x
    ON CONFLICT (uid) DO UPDATE SET link = excluded.link, created_at = excluded.created_at;
    DELETE FROM links WHERE uid IN (SELECT x ->> 0 FROM json_array_elements(others -> 'unlinked') AS x);
    INSERT INTO claims (uid, generation, key_id, wrapped, ciphertext, expires_at)
    SELECT x ->> 0, (x ->> 1)::bigint, x ->> 2, decode(x ->> 3, 'base64'), decode(x ->> 4, 'base64'),
        (x ->> 5)::double precision
    FROM json_array_elements(others -> 'claims') AS x
    ON CONFLICT (uid, generation) DO UPDATE SET key_id = excluded.key_id, wrapped = excluded.wrapped,
        ciphertext = excluded.ciphertext, expires_at = excluded.expires_at;
    INSERT INTO image_deletions (uid, since)
    SELECT x ->> 0, (x ->> 1)::double precision FROM json_array_elements(others -> 'discard') AS x
    ON CONFLICT (uid) DO UPDATE SET since = excluded.since, tries = 0, due_at = 0, cause = NULL, how = '{}';
    DELETE FROM image_deletions WHERE uid IN (SELECT x ->> 0 FROM json_array_elements(others -> 'keep') AS x);
    INSERT INTO superseded_images (uid, generation, since, depiction, path, sha256)
    SELECT x ->> 0, (x ->> 1)::bigint, (x ->> 2)::double precision, x ->> 3, x ->> 4, x ->> 5
    FROM json_array_elements(others -> 'superseded') AS x ON CONFLICT DO NOTHING;
    DELETE FROM provenance WHERE uid IN (SELECT x ->> 0 FROM json_array_elements(others -> 'erased') AS x);
    DELETE FROM labels WHERE uid IN (SELECT x ->> 0 FROM json_array_elements(others -> 'erased') AS x);
    UPDATE commands SET answer = '' WHERE uid IN (SELECT x ->> 0 FROM json_array_elements(others -> 'erased') AS x);
    INSERT INTO orphans (reference, uid, since)
    SELECT x ->> 0, x ->> 1, (x ->> 2)::double precision FROM json_array_elements(others -> 'orphan') AS x
    ON CONFLICT DO NOTHING;
END $$;
