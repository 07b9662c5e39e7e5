-- Who asked for which verification, when, and from which commit.
--
-- `author` is who committed the file last, or `not known (...)` with the reason, such as a shallow clone; it is empty
-- where there was no commit of it. It and `name` are empty once the request was forgotten. `file_differed` is 1 when
-- the file was not as in that commit. A row is a generation: what was asked for once.
--
-- :name        only this request, by name or uid
-- :since=time  only from this time on, such as 2026-11-01
-- :until=time  only before this time
SELECT asked, name, uid, generation, author, "commit", file_differed, mode, process_type, billed, outcome, decided
FROM generations
WHERE (:name = '' OR name = :name OR uid = :name) AND (:since = '' OR asked >= :since) AND (:until = '' OR asked < :until)
ORDER BY asked, name;
