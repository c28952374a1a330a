-- Nodes that only the way to the database was cut for, with others or until they joined anew: their jobs are taken over as those of any dead node, but
-- they have taken nobody down.
ALTER TABLE forge_nodes ADD COLUMN cut_off boolean NOT NULL DEFAULT false;
