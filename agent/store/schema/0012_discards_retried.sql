-- Discards: a deletion of image files that fails is tried again, and says why; `how` keeps what was deleted already.
ALTER TABLE discards ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE discards ADD COLUMN due_at REAL NOT NULL DEFAULT 0;
ALTER TABLE discards ADD COLUMN cause TEXT;              -- of the last failure: EROFS, EACCES ...; null: none failed yet
ALTER TABLE discards ADD COLUMN how TEXT NOT NULL DEFAULT '{}';
