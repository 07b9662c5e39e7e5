-- Labels: a copy of what the current document says, to be searched by. Erased with the name.
CREATE TABLE labels (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    uid   TEXT NOT NULL REFERENCES requests (uid),
    PRIMARY KEY (key, value, uid)
) WITHOUT ROWID;
CREATE INDEX labels_by_uid ON labels (uid);
INSERT INTO labels
SELECT label.value ->> 0, label.value ->> 1, uid FROM requests, json_each(record, '$.desired.labels') AS label;

-- Lists for people and programs: by phase in a stable order, by state with the latest progress first.
CREATE INDEX requests_by_phase ON requests (phase, uid);
CREATE INDEX requests_by_state ON requests (state, progress_at);
CREATE INDEX requests_by_part_of_name ON requests (name, uid) WHERE name IS NOT NULL;
CREATE INDEX requests_deleting ON requests (delete_at) WHERE phase = 'deletion';
-- An Assure Event may arrive before the answer to the start that caused it.
CREATE INDEX requests_starting ON requests (dossier_id) WHERE phase = 'verification';

-- Receipts: digests of the ids of Assure Events, for a day, so that a repeated one is known as such.
CREATE TABLE receipts (
    digest TEXT PRIMARY KEY,
    at     REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX receipts_by_time ON receipts (at);

-- Deliveries: what is still to be told to a sink, written with the change it tells of; deleted when it was taken.
-- No name and no label: what a sink is told of them is read from `requests` when it is sent [I6].
CREATE TABLE deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,        -- the order
    sink       TEXT NOT NULL,                            -- a digest of its URL
    event      TEXT NOT NULL,                            -- the id that the sink sees, the same however often it is sent
    uid        TEXT NOT NULL REFERENCES requests (uid),
    type       TEXT NOT NULL CHECK (type IN ('capture.ready', 'settled', 'held', 'deleted')),
    generation INTEGER NOT NULL,
    at         REAL NOT NULL,
    outcome    TEXT,
    reason     TEXT,
    hold_id    TEXT
);
CREATE INDEX deliveries_by_sink ON deliveries (sink, id);
