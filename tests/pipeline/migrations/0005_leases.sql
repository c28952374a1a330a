-- The node that executed, as it sees itself, and whose job it was by the queue's own row, claimed for the how many-th time.
ALTER TABLE executions ADD COLUMN node uuid, ADD COLUMN lease uuid, ADD COLUMN claim int;
CREATE INDEX executions_job ON executions (job);
