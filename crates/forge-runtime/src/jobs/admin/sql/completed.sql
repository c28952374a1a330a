-- How many jobs of each queue were completed within a minute, as the nodes that live have said with their last beats; without this one, which knows better.
SELECT done.key, sum(done.value::int8)::int8 FROM forge_nodes n, json_each_text(n.completed) AS done
WHERE n.status <> 'dead' AND n.id IS DISTINCT FROM $1 GROUP BY done.key
