-- Billed starts by day (of UTC): started verifications and delivered capture links.
--
-- `requests` is the number of their requests. It is lower than `starts` when some requests were verified again.
--
-- :since=time  only from this day on, such as 2026-11-01
-- :until=time  only before this day
SELECT substr(time, 1, 10) AS day, mode, count(*) AS starts, count(DISTINCT uid) AS requests
FROM billed_starts
WHERE (:since = '' OR time >= :since) AND (:until = '' OR time < :until)
GROUP BY day, mode ORDER BY day, mode;
