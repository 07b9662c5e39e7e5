-- Calls that may or may not have happened, because their answer was lost or proves nothing, and the next event.
--
-- `result` is empty while the answer is awaited. `start_verification` is the billable call. After an unknown answer, the
-- agent reads the process before it repeats the call. `next_event` is the first event afterwards.
--
-- :call=call   one of create_dossier, create_process, start_capture, upload_images, start_verification, delete_dossier
-- :since=time  only calls from this time on, such as 2026-11-01
SELECT calls.intended, calls.name, calls.uid, calls.generation, calls.number, calls.call, calls.result, calls.status,
    calls.trouble, calls.cause, calls.trace_id,
    (SELECT history.type FROM history WHERE history.uid = calls.uid AND history.time > calls.answered
        ORDER BY history.seq LIMIT 1) AS next_event
FROM calls
WHERE (calls.result = 'unknown' OR calls.result IS NULL)
    AND (:call = '' OR calls.call = :call) AND (:since = '' OR calls.intended >= :since)
ORDER BY calls.intended, calls.name NULLS FIRST;
