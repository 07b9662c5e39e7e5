-- Names, labels, authors and commands are in the chains as keyed digests (agent/store/digests.py, agent/store/operator_commands.py).
ALTER TABLE requests ADD COLUMN salt TEXT;               -- random, of the digests of one request; null: none yet, or erased
ALTER TABLE commands ADD COLUMN number INTEGER;          -- the order in which they were obeyed: 1, 2, 3, without a gap
ALTER TABLE commands ADD COLUMN hash TEXT;               -- keyed; covers the hash before and every column but the answer
CREATE UNIQUE INDEX commands_in_order ON commands (number) WHERE number IS NOT NULL;
INSERT INTO meta (key, value) VALUES ('commands', '');   -- nothing is chained yet; filled when the store is opened
