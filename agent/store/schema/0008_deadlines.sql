-- Deadlines: when the privacy clock decides, so that an outage asks for those that ran out and for no others.
ALTER TABLE requests ADD COLUMN decides_at REAL;  -- the deadline; while it is held or suspended, when it is due
UPDATE requests SET decides_at = CASE
    WHEN json_extract(record, '$.desired.suspend')
        OR hold_reason NOT IN ('changed-after-start', 'reappeared-after-start') THEN due_at
    ELSE opened_at + json_extract(record, '$.desired.deadline') END
WHERE opened_at IS NOT NULL AND phase NOT IN ('deletion', 'done');
CREATE INDEX requests_deciding ON requests (decides_at) WHERE decides_at IS NOT NULL;
