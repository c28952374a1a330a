-- Read live: a table of partitions, whose rows go with those of another.
CREATE TABLE sensors (name text PRIMARY KEY);
CREATE TABLE readings (
    sensor text NOT NULL REFERENCES sensors ON DELETE CASCADE,
    day integer NOT NULL,
    value bigint NOT NULL
) PARTITION BY RANGE (day);
CREATE TABLE readings_early PARTITION OF readings FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE readings_late PARTITION OF readings FOR VALUES FROM (100) TO (MAXVALUE);
