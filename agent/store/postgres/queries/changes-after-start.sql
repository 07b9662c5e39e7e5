-- Changes, removals and returns of files, and requested reruns, after the billable act.
--
-- `held` is the reason of the hold that followed, or empty. Without a hold, the agent applied the change in
-- place (labels, retention, deadline), deleted the dossier, or began the next generation.
-- `changes` are the audited fields that changed.
--
-- :name        only this request, by name or uid
-- :since=time  only from this time on, such as 2026-11-01
SELECT history.time, history.name, history.uid, generations.generation, generations.billed, history.type,
    history.changes::json #>> '{hold,reason}' AS held, history.changes
FROM history JOIN generations ON generations.uid = history.uid
WHERE history.type IN ('DocumentChanged', 'DocumentRemoved', 'DocumentReturned', 'RerunRequested')
    AND generations.billed IS NOT NULL AND history.time > generations.billed
    AND NOT EXISTS (
        SELECT 1 FROM generations AS later WHERE later.uid = history.uid
        AND later.generation > generations.generation AND later.asked < history.time)
    AND (:name = '' OR history.name = :name OR history.uid = :name) AND (:since = '' OR history.time >= :since)
ORDER BY history.time, history.name NULLS FIRST;
