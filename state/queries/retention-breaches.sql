-- Dossiers that existed beyond their retention: deleted too late, or due and not deleted yet.
--
-- `overdue_seconds` counts from the time when the deletion was due (outcome plus retention) to its confirmation, or
-- to now. An empty result means that there is no breach.
--
-- :allowed=seconds  seconds that a due deletion may take; 900 when empty
-- :since=time       only deletions due from this time on, such as 2026-11-01
SELECT deletion_due, name, uid, generation, dossier_id, confirmed_gone,
    coalesce(delay_seconds, round((julianday('now') - julianday(deletion_due)) * 86400, 0)) AS overdue_seconds
FROM dossiers
WHERE deletion_due IS NOT NULL AND (:since = '' OR deletion_due >= :since)
    AND coalesce(delay_seconds, (julianday('now') - julianday(deletion_due)) * 86400)
        > CAST(coalesce(nullif(:allowed, ''), '900') AS REAL)
ORDER BY deletion_due, name NULLS FIRST;
