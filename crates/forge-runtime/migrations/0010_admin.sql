-- What was done from outside to what runs: who, what, on what, how many. A row is written in the transaction of the action, so that neither is
-- there without the other. Rows end after a time (admin.audit_retain).
CREATE TABLE forge_admin_audit (
    -- In the order in which actions were begun.
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- `user:ada`, `token:deploy`, or `app` for the app itself.
    who text NOT NULL,
    -- Such as `jobs.retry`.
    action text NOT NULL,
    -- A job's id, or a name. Nothing for what was done by a filter; that is among the details.
    target text,
    -- How many things it changed.
    count bigint NOT NULL,
    details json,
    request_id text,
    address text
);
-- Serves their end.
CREATE INDEX forge_admin_audit_at ON forge_admin_audit (at);

-- Who has paused a cron, and when. Of queues that is known already.
ALTER TABLE forge_crons ADD COLUMN paused_by text, ADD COLUMN paused_at timestamptz;
