-- Provenance: who committed the file of a generation last. A person's name: here only, and erasable.
CREATE TABLE provenance (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL CHECK (generation > 0),
    file       TEXT NOT NULL,
    author     TEXT NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
