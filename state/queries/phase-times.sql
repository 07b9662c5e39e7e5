-- The seconds that requests spent in each phase: number, p50, p90, p99 and maximum.
--
-- It covers finished phases only. `result` is the time of Assure, or of the end user in the capture flow.
--
-- :since=time  only phases entered from this time on, such as 2026-11-01
-- :until=time  only phases entered before this time
WITH ranked AS (
    SELECT phase, seconds, row_number() OVER (PARTITION BY phase ORDER BY seconds) AS place,
        count(*) OVER (PARTITION BY phase) AS many
    FROM phases
    WHERE seconds IS NOT NULL AND (:since = '' OR entered >= :since) AND (:until = '' OR entered < :until)
)
SELECT phase, max(many) AS passages,
    min(CASE WHEN place >= many * 0.5 THEN seconds END) AS p50,
    min(CASE WHEN place >= many * 0.9 THEN seconds END) AS p90,
    min(CASE WHEN place >= many * 0.99 THEN seconds END) AS p99,
    max(seconds) AS longest
FROM ranked GROUP BY phase
ORDER BY CASE phase WHEN 'dossier' THEN 1 WHEN 'process' THEN 2 WHEN 'images' THEN 3 WHEN 'verification' THEN 4
    WHEN 'result' THEN 5 WHEN 'deletion' THEN 6 ELSE 7 END;
