-- How sensitive the resources are that a task may have had an answer from: at most four rows for each task.
CREATE TABLE seen (
    tenant TEXT NOT NULL,
    task TEXT NOT NULL,
    sensitivity TEXT NOT NULL,
    PRIMARY KEY (tenant, task, sensitivity)
) STRICT, WITHOUT ROWID;

-- Nobody looked at what tasks under way saw until now, so they may have seen everything.
INSERT INTO seen (tenant, task, sensitivity)
SELECT task.tenant, task.id, level.column1
FROM task, (VALUES ('public'), ('internal'), ('confidential'), ('restricted')) AS level
WHERE task.state = 'active';
