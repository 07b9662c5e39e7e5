-- Possible orphans: dossiers that may exist at Assure because the answer to their creation was lost, and their end.
--
-- `came_to` is watched, never seen (for an hour, after which no create call is pending), or deleted and confirmed.
--
-- :since=time  only from this time on, such as 2026-11-01
SELECT since, name, uid, reference, came_to, dossier_id, closed
FROM possible_orphans
WHERE (:since = '' OR since >= :since)
ORDER BY since, reference;
