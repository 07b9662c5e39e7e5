-- What people told the agent, and who: resolve, rerun, approve, pause, resume, forget, page.
--
-- Each was obeyed once. `name` is empty for pause, resume, approve and page, and once the request was forgotten.
-- `sender` is the account of the operating system that sent it, as the kernel says of the peer of the control socket;
-- after `sudo`, the account that logged in as well.
--
-- :command=command  only this command
-- :since=time       only from this time on, such as 2026-11-01
SELECT time, command, name, uid, sender
FROM told
WHERE (:command = '' OR command = :command) AND (:since = '' OR time >= :since)
ORDER BY time;
