-- The control plane: people and paper. Its facts, in the layout of postgres-es.
--
-- They have a table of their own, apart from `events`: that one is filled from the blocks of journals, in bulk and by one writer
-- per book, and is compared with them; this one is the fact itself, written by whoever issues a key, and needs an order.
CREATE TABLE control_events (
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence >= 1),
    event_type     text        NOT NULL,
    event_version  text        NOT NULL,
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    -- The order of commits, with gaps where a transaction was rolled back.
    position       bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);

COMMENT ON TABLE control_events IS 'Facts of the control plane, such as keys of the API issued and revoked. Never edit a row.';
COMMENT ON COLUMN control_events.sequence IS 'The number of the fact among those of its aggregate, from 1.';
COMMENT ON COLUMN control_events.position IS 'Rises in the order of commits: whoever has read one never misses one below it.';

-- Numbers of a sequence are handed out before their transactions commit, so without a lock a reader could see 8, go on behind
-- it, and never see 7, whose transaction took longer. The lock is taken before the first number of a transaction is, and goes
-- with its commit.
CREATE FUNCTION control_events_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7237954683921950062);
    RETURN NULL;
END
$$;

CREATE TRIGGER control_events_in_order BEFORE INSERT ON control_events
FOR EACH STATEMENT EXECUTE FUNCTION control_events_in_order();

-- What is in force, for people.
CREATE VIEW api_keys AS
SELECT issued.payload #>> '{data,key}'                        AS key,
       issued.payload #>> '{data,holder,tenant}'              AS tenant,
       issued.payload #>> '{data,holder,name}'                AS holder,
       issued.payload #>> '{data,holder,customer}'            AS customer,
       issued.aggregate_id::uuid                              AS principal,
       (issued.payload #>> '{data,issued_at}')::timestamptz   AS issued_at,
       issued.payload #>> '{data,actor}'                      AS issued_by,
       (revoked.payload #>> '{data,revoked_at}')::timestamptz AS revoked_at,
       revoked.payload #>> '{data,actor}'                     AS revoked_by
FROM control_events AS issued
LEFT JOIN control_events AS revoked
       ON revoked.aggregate_type = issued.aggregate_type
      AND revoked.aggregate_id = issued.aggregate_id
      AND revoked.event_type = 'ledger.api_key.revoked'
      AND revoked.payload #>> '{data,key}' = issued.payload #>> '{data,key}'
WHERE issued.event_type = 'ledger.api_key.issued';

COMMENT ON VIEW api_keys IS 'Keys of the API, void ones too, with who holds them. A key''s secret is nowhere.';
