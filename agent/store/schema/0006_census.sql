-- Census: how many requests there are of each kind, kept by the triggers below, so that metrics need no scan.
CREATE TABLE census (
    phase    TEXT NOT NULL,
    state    TEXT NOT NULL,
    reason   TEXT NOT NULL,                              -- of the hold; empty when there is none
    dossier  INTEGER NOT NULL CHECK (dossier IN (0, 1)), -- has a dossier id
    requests INTEGER NOT NULL,
    PRIMARY KEY (phase, state, reason, dossier)
) WITHOUT ROWID;
INSERT INTO census SELECT phase, state, coalesce(hold_reason, ''), dossier_id IS NOT NULL, count(*)
FROM requests GROUP BY 1, 2, 3, 4;
CREATE TRIGGER census_counts_a_new_request AFTER INSERT ON requests
BEGIN
    INSERT INTO census VALUES (NEW.phase, NEW.state, coalesce(NEW.hold_reason, ''), NEW.dossier_id IS NOT NULL, 1)
    ON CONFLICT DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER census_counts_a_changed_request AFTER UPDATE OF phase, state, hold_reason, dossier_id ON requests
WHEN OLD.phase <> NEW.phase OR OLD.state <> NEW.state OR OLD.hold_reason IS NOT NEW.hold_reason
    OR (OLD.dossier_id IS NULL) <> (NEW.dossier_id IS NULL)
BEGIN
    UPDATE census SET requests = requests - 1
    WHERE phase = OLD.phase AND state = OLD.state AND reason = coalesce(OLD.hold_reason, '')
        AND dossier = (OLD.dossier_id IS NOT NULL);
    INSERT INTO census VALUES (NEW.phase, NEW.state, coalesce(NEW.hold_reason, ''), NEW.dossier_id IS NOT NULL, 1)
    ON CONFLICT DO UPDATE SET requests = requests + 1;
END;
CREATE INDEX requests_with_dossier ON requests (admitted_at) WHERE dossier_id IS NOT NULL AND phase <> 'done';
CREATE INDEX requests_in_progress ON requests (progress_at) WHERE state = 'active' AND phase <> 'done';
