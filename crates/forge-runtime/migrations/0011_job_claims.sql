-- How often a job was claimed. With the worker it is the fence of every write of a running job. Unlike the number of the attempt it never goes back: that
-- of one that was put off or handed back is used again, and whoever does not know whether it has written that down writes it once more.
ALTER TABLE forge_jobs ADD COLUMN claims integer NOT NULL DEFAULT 0;
-- A dead letter that is retried goes on counting.
ALTER TABLE forge_jobs_dead ADD COLUMN claims integer NOT NULL DEFAULT 0;
