-- Every dossier that the agent created at Assure: when its deletion was due, when it was confirmed, and the delay between the two.
--
-- Confirmed means that Assure answered a read after the deletion with 404. `evidence_event` is the event of that read
-- (see `assure-agent audit certificate`). A possible orphan is due when the agent finds its dossier.
--
-- :name        only this request, by name or uid
-- :since=time  only dossiers from this time on, such as 2026-11-01
-- :until=time  only dossiers from before this time
SELECT * FROM (
    SELECT created, name, uid, generation, dossier_id, deletion_due, deleted, confirmed_gone, delay_seconds, evidence_event
    FROM dossiers
    UNION ALL
    SELECT since, name, uid, NULL, dossier_id, NULL, NULL, closed, NULL, NULL
    FROM possible_orphans WHERE dossier_id IS NOT NULL
) AS created_dossiers
WHERE (:name = '' OR name = :name OR uid = :name) AND (:since = '' OR created >= :since) AND (:until = '' OR created < :until)
ORDER BY created, name NULLS FIRST;
