-- Recoveries: each time the state file was found not to be what it had been. Part of the audit: never deleted.
CREATE TABLE recoveries (
    id          INTEGER PRIMARY KEY,
    at          REAL NOT NULL,
    why         TEXT NOT NULL CHECK (why IN ('lost', 'older', 'restored')),
    known       INTEGER,                                 -- events there had been, as far as the mark beside it tells
    kept        INTEGER NOT NULL,                        -- events in the file as it was found
    backup_at   REAL,                                    -- when the backup was made, when it is one
    looked_at   REAL,                                    -- when Assure was asked for what it still has
    approved_at REAL,                                    -- when a person said to go on
    closed_at   REAL                                     -- when all was as usual again
);
CREATE UNIQUE INDEX recoveries_open ON recoveries (closed_at IS NULL) WHERE closed_at IS NULL;
CREATE TRIGGER recoveries_are_never_deleted BEFORE DELETE ON recoveries
BEGIN SELECT RAISE(ABORT, 'recoveries are append-only'); END;

-- Unclaimed: dossiers under our agent id that no request explains, as of the last look of a recovery.
CREATE TABLE unclaimed (
    dossier_id TEXT PRIMARY KEY,
    reference  TEXT NOT NULL,
    seen_at    REAL NOT NULL
) WITHOUT ROWID;
