-- Withdrawals: a file that was taken away before the outcome; it counts against the guard, also when it came back.
CREATE TABLE withdrawals (
    uid        TEXT NOT NULL REFERENCES requests (uid),
    generation INTEGER NOT NULL CHECK (generation > 0),
    at         REAL NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;
CREATE INDEX withdrawals_by_time ON withdrawals (at);
INSERT INTO withdrawals (uid, generation, at)
    SELECT uid, generation, progress_at FROM requests WHERE outcome = 'withdrawn' AND NOT present;
