-- What people told the agent: resolve, rerun, approve, pause, resume, forget.
--
-- Each was obeyed once. `name` is empty for pause, resume and approve, and once the request was forgotten.
--
-- :command=command  only this command
-- :since=time       only from this time on, such as 2026-11-01
SELECT time, command, name, uid
FROM told
WHERE (:command = '' OR command = :command) AND (:since = '' OR time >= :since)
ORDER BY time;
