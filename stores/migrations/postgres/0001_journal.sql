-- The journal of books, and who may write it.

-- A block of a journal: its canonical bytes are the fact, every other column is read from them.
CREATE TABLE blocks (
    book           bigint      NOT NULL,
    last_sequence  bigint      NOT NULL,
    first_sequence bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    epoch          bigint      NOT NULL,
    previous       bytea       NOT NULL,
    hash           bytea       NOT NULL,
    bytes          bytea       NOT NULL,
    PRIMARY KEY (book, last_sequence),
    CHECK (first_sequence >= 1 AND last_sequence >= first_sequence),
    CHECK (length(previous) = 32 AND length(hash) = 32)
);
-- Journals are appended to and read in order; their bytes hardly compress, and trying costs time at each append.
ALTER TABLE blocks ALTER COLUMN bytes SET STORAGE EXTERNAL;

COMMENT ON TABLE blocks IS 'The journal: one row per block, chained by hash. The column bytes is the fact; never edit a row.';
COMMENT ON COLUMN blocks.bytes IS 'The canonical bytes of the block (docs/internals/event-format.md).';

-- Who writes a book, and up to where it is written. Each append moves the head in the same statement, and only under the
-- newest epoch: a writer that was overtaken changes no row, and appends nothing.
CREATE TABLE lease (
    book       bigint      PRIMARY KEY,
    epoch      bigint      NOT NULL CHECK (epoch >= 1),
    head       bigint      NOT NULL CHECK (head >= 0),
    head_hash  bytea       NOT NULL CHECK (length(head_hash) = 32),
    holder     text        NOT NULL,
    renewed_at timestamptz NOT NULL
) WITH (fillfactor = 10);

COMMENT ON TABLE lease IS 'One row per book: the epoch of its writer and the head of its journal. Taking over raises the epoch.';

-- The events, a row each, as postgres-es keeps them: for people, for SQL and for cqrs-es tools. The journal does not read
-- them; `replay-tool verify` compares them with the blocks.
CREATE TABLE events (
    aggregate_type text   NOT NULL,
    aggregate_id   text   NOT NULL,
    sequence       bigint NOT NULL CHECK (sequence >= 0),
    event_type     text   NOT NULL,
    event_version  text   NOT NULL,
    payload        json   NOT NULL,
    metadata       json   NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);

COMMENT ON TABLE events IS 'One row per event. Of a book: aggregate_type is book, aggregate_id its number, sequence that of the journal.';

-- What analysts ask for most.
CREATE VIEW journal_events AS
SELECT aggregate_id::bigint                                    AS book,
       sequence,
       (metadata ->> 'recorded_at')::timestamptz               AS recorded_at,
       event_type,
       event_version,
       payload #>> '{cause,type}'                              AS cause,
       (payload #>> '{cause,command}')::uuid                   AS command,
       payload #>> '{cause,actor}'                             AS actor,
       payload -> 'data'                                       AS data
FROM events
WHERE aggregate_type = 'book';

COMMENT ON VIEW journal_events IS 'The events of all books with their time, cause and content.';

CREATE VIEW journal_postings AS
SELECT event.book,
       event.sequence,
       event.recorded_at,
       event.event_type,
       (event.data ->> 'effective_on')::date                   AS effective_on,
       event.data ->> 'reference'                              AS reference,
       posting.place - 1                                       AS place,
       (posting.value ->> 'account')::uuid                     AS account,
       posting.value ->> 'side'                                AS side,
       (posting.value #>> '{money,amount}')::numeric           AS amount,
       posting.value #>> '{money,currency}'                    AS currency
FROM journal_events AS event
CROSS JOIN LATERAL json_array_elements(event.data -> 'postings') WITH ORDINALITY AS posting (value, place)
WHERE event.event_type IN ('ledger.entry.posted', 'ledger.hold.captured', 'ledger.entry.reversed');

COMMENT ON VIEW journal_postings IS 'Every posting of every entry, capture and reversal, a row each; amounts in units of the currency.';
