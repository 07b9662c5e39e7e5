-- Holds of requests, with their reasons, durations and ends.
--
-- `until` is empty while the hold waits for the operator. `ended_by` is the observation that ended it, such as
-- HoldResolved for the operator's answer.
--
-- :reason=reason  only for this reason, such as changed-after-start
-- :since=time     only from this time on, such as 2026-11-01
SELECT since, name, uid, hold_id, reason, until, ended_by, seconds
FROM holds
WHERE (:reason = '' OR reason = :reason) AND (:since = '' OR since >= :since)
ORDER BY since, name NULLS FIRST;
