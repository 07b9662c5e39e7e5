-- The starts of a day are counted, whether or not a brake was set when they were made.
CREATE INDEX starts_by_time ON starts (at);
