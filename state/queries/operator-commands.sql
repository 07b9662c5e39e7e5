-- Commands of operators and their senders: resolve, rerun, approve, pause, resume, forget, page.
--
-- The agent applied each of them once. `name` is empty for pause, resume, approve and page, and for a forgotten request.
-- `sender` is the OS account at the other end of the control socket, as the kernel reports it. After `sudo`, it also
-- names the account that logged in.
--
-- :command=command  only this command
-- :since=time       only from this time on, such as 2026-11-01
SELECT time, command, name, uid, sender
FROM operator_commands
WHERE (:command = '' OR command = :command) AND (:since = '' OR time >= :since)
ORDER BY time;
