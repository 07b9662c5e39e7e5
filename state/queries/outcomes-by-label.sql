-- The mix of outcomes by day (of UTC) and by the value of a label.
--
-- A request without the label counts under (none). The query reads the current labels.
--
-- :label       the label's name, such as team, or empty for all
-- :since=time  only from this time on, such as 2026-11-01
-- :until=time  only before this time
SELECT substr(generations.decided, 1, 10) AS day,
    coalesce((SELECT labels.value FROM labels WHERE labels.uid = generations.uid AND labels.key = :label), '(none)') AS value,
    generations.outcome, count(*) AS requests
FROM generations
WHERE generations.outcome IS NOT NULL AND (:since = '' OR generations.decided >= :since)
    AND (:until = '' OR generations.decided < :until)
GROUP BY day, value, generations.outcome ORDER BY day, value, generations.outcome;
