-- The author, the time and the commit of each requested verification.
--
-- Each row is a generation. `author` is the author of the last commit of the file, and empty without such a commit.
-- It is `not known (...)` with the reason when the agent cannot read it, such as in a shallow clone.
-- `author` and `name` are empty after the request was forgotten. `file_differed` is 1 when the file differed from that
-- commit.
--
-- :name        only this request, by name or uid
-- :since=time  only from this time on, such as 2026-11-01
-- :until=time  only before this time
SELECT asked, name, uid, generation, author, "commit", file_differed, mode, process_type, billed, outcome, decided
FROM generations
WHERE (:name = '' OR name = :name OR uid = :name) AND (:since = '' OR asked >= :since) AND (:until = '' OR asked < :until)
ORDER BY asked, name;
