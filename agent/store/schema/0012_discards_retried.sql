-- Discards: a deletion of image files that fails is tried again, and says why; `how` keeps what was deleted already.
ALTER TABLE discards ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE discards ADD COLUMN due_at REAL NOT NULL DEFAULT 0;
ALTER TABLE discards ADD COLUMN cause TEXT;              -- of the last failure: EROFS, EACCES ...; null: none failed yet
ALTER TABLE discards ADD COLUMN how TEXT NOT NULL DEFAULT '{}';

-- Superseded images: uploaded by an earlier generation, and not asked for by the one that replaced it; to be deleted here
-- as well. Once a file is gone, or is not ours any more, its path leaves the row, and `how` says what became of it.
CREATE TABLE superseded_images (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL,
    depiction  TEXT NOT NULL,
    path       TEXT,
    sha256     TEXT,
    since      REAL NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    due_at     REAL NOT NULL DEFAULT 0,
    cause      TEXT,
    done_at    REAL,
    how        TEXT,
    PRIMARY KEY (uid, generation, depiction)
);
CREATE INDEX superseded_images_owed ON superseded_images (due_at) WHERE done_at IS NULL;
