-- The signer, the author, the time and the commit of each requested verification.
--
-- Each row is a generation. `author` is the author of the last commit of the file, and empty without such a commit.
-- It is `not known (...)` with the reason when the agent cannot read it, such as in a shallow clone. Git does not verify
-- it. `signed_by` is the verified signer of that commit, `file_commit`: an allowed signer, with the fingerprint of the
-- key. Both are recorded from a git source with SOURCE_VERIFY=each. `commit` is the commit of the whole source.
-- `author`, `signed_by`, `file_commit` and `name` are empty after the request was forgotten. `file_differed` is 1 when
-- the file differed from `commit`.
--
-- :name        only this request, by name or uid
-- :since=time  only from this time on, such as 2026-11-01
-- :until=time  only before this time
SELECT asked, name, uid, generation, signed_by, author, file_commit, "commit", file_differed, mode, process_type, billed, outcome, decided
FROM generations
WHERE (:name = '' OR name = :name OR uid = :name) AND (:since = '' OR asked >= :since) AND (:until = '' OR asked < :until)
ORDER BY asked, name NULLS FIRST;
