-- Questions that were put to a person: why, for how long, and what ended them.
--
-- `until` is empty while the question is open; `ended_by` is what was observed then (HoldResolved: a person answered).
--
-- :reason=reason  only for this reason, such as changed-after-start
-- :since=time     only from this time on, such as 2026-11-01
SELECT since, name, uid, hold_id, reason, until, ended_by, seconds
FROM holds
WHERE (:reason = '' OR reason = :reason) AND (:since = '' OR since >= :since)
ORDER BY since, name;
