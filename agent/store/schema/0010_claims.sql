-- Claims: the personal data of an accepted result, encrypted, until they expire; the keys are not in this file [I6].
CREATE TABLE claims (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    key_id     TEXT NOT NULL,                            -- the file in `keys/` that wraps their own key
    wrapped    BLOB NOT NULL,                            -- their own key, wrapped
    ciphertext BLOB NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (uid, generation)
);
CREATE INDEX claims_by_time ON claims (expires_at);
CREATE INDEX claims_by_key ON claims (key_id);

-- Discards: requests whose image files are to be deleted here, because their outcome is durable.
CREATE TABLE discards (
    uid   TEXT PRIMARY KEY REFERENCES requests (uid),
    since REAL NOT NULL
) WITHOUT ROWID;
