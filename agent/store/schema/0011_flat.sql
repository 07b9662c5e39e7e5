-- Waiting: since when the oldest waits for its result, so that a look costs the same however many wait.
CREATE INDEX requests_waiting_since ON requests (opened_at) WHERE phase = 'result';
-- Names whose files are there, so that a start does not read those whose files went away years ago.
CREATE INDEX requests_present ON requests (source, name, uid) WHERE present AND name IS NOT NULL;
