-- Conversions are entries, too.
CREATE OR REPLACE VIEW journal_postings AS
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
WHERE event.event_type IN
    ('ledger.entry.posted', 'ledger.hold.captured', 'ledger.entry.reversed', 'ledger.conversion.posted');

COMMENT ON VIEW journal_postings IS
    'Every posting of every entry, capture, reversal and conversion, a row each; amounts in units of the currency.';
