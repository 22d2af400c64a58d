//! Every rule of the book, a row each: what is asked, and what the book says, with what it observed.
//!
//! A title starts a fresh book. A row without `=>` only has to be accepted. A new rule is a new row.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod desk;

use desk::Desk;
use event_schemas::bounds::{POSTINGS_MAX, TOTAL_MAX_MINOR};
use event_schemas::event::EntryPosted;
use event_schemas::{AccountId, Command, CommandId, EntryKind, Event, EventBody, Money, Posting, Rejection};
use ledger_core::asked;
use ledger_core::bound::{self, OutOfBounds};
use ledger_core::decide::{Context, decide};
use ledger_core::ports::Verdict;

const ACCOUNTS: &str = "
# An account is opened once, under a code or a bare id.
open ann liability EUR => opened
open ann liability EUR => account_exists ann
open #7 asset EUR unlimited => opened
open #7 liability USD => account_exists #7
open bob liability JPY overdraft 100 owner client:1 => opened
open cat equity BHD overdraft 0.001 => opened
open dan income CLF => opened
open eve expense USD => opened

# A code has few characters, goes with the id, and is not the book's own.
open ann liability EUR as #7 => account_code_invalid
open ann liability EUR as bob => account_code_invalid
open sys:psp-clearing:EUR liability EUR => account_code_invalid
open sys: liability EUR => account_code_invalid
open an/n liability EUR => account_code_invalid
open änn liability EUR => account_code_invalid
open 0123456789012345678901234567890123456789012345678901234567890123 liability EUR => opened
open 01234567890123456789012345678901234567890123456789012345678901234 liability EUR => account_code_invalid
open A-z_0.9:x liability EUR => opened

# Nobody can sit on the id of an account that has a code, or that the book will open itself.
open #1 liability EUR as clearing:EUR => account_code_invalid
open #1 liability EUR as fees:USD => account_code_invalid
open #1 liability EUR as ann => account_code_invalid
open ann liability EUR => opened
top_up ann 1 EUR => opens clearing:EUR, D clearing:EUR 1.00 EUR C ann 1.00 EUR

# An overdraft lies between zero and 10^24.
open ann liability EUR overdraft m-1 => amount_not_positive
open ann liability EUR overdraft m1000000000000000000000001 => amount_too_large
open ann liability EUR overdraft m1000000000000000000000000 => opened

# Frozen, unfrozen, closed.
freeze ann => account_not_found ann
unfreeze ann => account_not_found ann
close ann => account_not_found ann
open ann liability EUR
unfreeze ann => account_not_frozen ann
freeze ann => frozen
freeze ann => account_frozen ann
unfreeze ann => unfrozen
close ann => closed
close ann => account_closed ann
freeze ann => account_closed ann
unfreeze ann => account_closed ann
open ann liability EUR => account_exists ann
top_up ann 1 EUR => account_closed ann

# A frozen account takes nothing and gives nothing, and may be closed at zero.
open ann liability EUR
open bob liability EUR
top_up bob 10 EUR
freeze ann
top_up ann 1 EUR => account_frozen ann
withdraw ann 1 EUR => account_frozen ann
transfer bob ann 1 EUR => account_frozen ann
transfer ann bob 1 EUR => account_frozen ann
entry D bob 1 EUR C ann 1 EUR => account_frozen ann
close ann => closed
balance bob => 10.00

# Only an empty account is closed.
open ann liability EUR
open pit asset EUR
top_up ann 10 EUR
close ann => account_not_empty ann 1000
entry D pit 3 EUR C ann 3 EUR
close pit => account_not_empty pit 300
withdraw ann 13 EUR
close ann => closed
";

const POSTINGS: &str = "
# Top-up: debit clearing, credit the customer; the fee from the customer to income. System accounts open on first use.
open ann liability EUR
open joe liability JPY
top_up ann 100 EUR reference salary => opens clearing:EUR, D clearing:EUR 100.00 EUR C ann 100.00 EUR
top_up ann 100 EUR fee 1 => opens fees:EUR, D clearing:EUR 100.00 EUR C ann 100.00 EUR D ann 1.00 EUR C fees:EUR 1.00 EUR
top_up ann 100 EUR fee 1 => D clearing:EUR 100.00 EUR C ann 100.00 EUR D ann 1.00 EUR C fees:EUR 1.00 EUR
top_up joe 5 JPY fee 1 => opens clearing:JPY, opens fees:JPY, D clearing:JPY 5 JPY C joe 5 JPY D joe 1 JPY C fees:JPY 1 JPY
balance ann => 298.00
balance clearing:EUR => 300.00
balance fees:EUR => 2.00
balance joe => 4

# Withdrawal: the mirror.
open ann liability EUR overdraft 20
withdraw ann 10 EUR => opens clearing:EUR, D ann 10.00 EUR C clearing:EUR 10.00 EUR
withdraw ann 5 EUR fee 0.50 => opens fees:EUR, D ann 5.50 EUR C clearing:EUR 5.00 EUR C fees:EUR 0.50 EUR
balance ann => -15.50
balance clearing:EUR => -15.00

# Transfer: the sender pays amount and fee, the receiver gets the amount.
open ann liability EUR
open bob liability EUR
top_up ann 50 EUR
transfer ann bob 25 EUR fee 0.25 => opens fees:EUR, D ann 25.25 EUR C bob 25.00 EUR C fees:EUR 0.25 EUR
transfer bob ann 24.99 EUR reference rent on 2026-11-20 => D bob 24.99 EUR C ann 24.99 EUR on 2026-11-20
balance ann => 49.74
balance bob => 0.01
balance fees:EUR => 0.25

# An entry of the caller's own making, in two currencies, with an account on both sides.
open fxe asset EUR unlimited
open fxu asset USD unlimited
open ann liability USD overdraft 100
open bob liability EUR
entry D ann 100 USD C fxu 100 USD D fxe 92.34 EUR C bob 91.42 EUR C fxe 0.92 EUR => D ann 100.00 USD C fxu 100.00 USD D fxe 92.34 EUR C bob 91.42 EUR C fxe 0.92 EUR
entry D bob 1 EUR C bob 1 EUR => D bob 1.00 EUR C bob 1.00 EUR
balance fxe => 91.42
balance fxu => -100.00
balance ann => -100.00

# The date: that of recording, or one from 1900-01-01 to a year and a day ahead.
open ann liability EUR
top_up ann 9 EUR on 1993-01-05 => opens clearing:EUR, D clearing:EUR 9.00 EUR C ann 9.00 EUR on 1993-01-05
top_up ann 9 EUR on 2026-11-21 => D clearing:EUR 9.00 EUR C ann 9.00 EUR
top_up ann 9 EUR on 1900-01-01 => D clearing:EUR 9.00 EUR C ann 9.00 EUR on 1900-01-01
top_up ann 9 EUR on 2027-11-22 => D clearing:EUR 9.00 EUR C ann 9.00 EUR on 2027-11-22
top_up ann 9 EUR on 1899-12-31 => effective_date_out_of_range 1900-01-01 2027-11-22
withdraw ann 9 EUR on 2027-11-23 => effective_date_out_of_range 1900-01-01 2027-11-22
transfer ann bob 9 EUR on 2027-11-23 => effective_date_out_of_range 1900-01-01 2027-11-22
entry D ann 9 EUR C bob 9 EUR on 0001-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
balance ann => 36.00
";

const MONEY: &str = "
# Amounts are above zero and at most 10^24 minor units, the fee included.
open ann liability EUR overdraft m1000000000000000000000000
open bob liability EUR overdraft m1000000000000000000000000
top_up ann 0 EUR => amount_not_positive
top_up ann -1 EUR => amount_not_positive
top_up ann 1 EUR fee -0.01 => amount_not_positive
withdraw ann 0 EUR => amount_not_positive
transfer ann bob 0 EUR => amount_not_positive
transfer ann bob -5 EUR => amount_not_positive
transfer ann bob 5 EUR fee -5 => amount_not_positive
entry D ann 0 EUR C bob 0 EUR => amount_not_positive
entry D ann -1 EUR C bob -1 EUR => amount_not_positive
top_up ann m1000000000000000000000001 EUR => amount_too_large
transfer ann bob m1000000000000000000000000 EUR fee m1 => amount_too_large
withdraw ann m1 EUR fee m1000000000000000000000000 => amount_too_large
transfer ann bob m170141183460469231731687303715884105727 EUR fee m170141183460469231731687303715884105727 => amount_too_large
entry D ann m1000000000000000000000001 EUR C bob m1000000000000000000000001 EUR => amount_too_large
transfer ann bob m999999999999999999999999 EUR fee m1 => opens fees:EUR, D ann 10000000000000000000000.00 EUR C bob 9999999999999999999999.99 EUR C fees:EUR 0.01 EUR
balance ann => -10000000000000000000000.00

# Funds: to the floor and not below; what is in an entry counts together; raising is always allowed.
open ann liability EUR overdraft 5
open bob liability EUR
open pit asset EUR
open inc income EUR
open exp expense EUR overdraft 1
top_up ann 10 EUR
transfer ann bob 15.01 EUR => insufficient_funds ann 1500 1501
transfer ann bob 15 EUR fee 0.01 => insufficient_funds ann 1500 1501
transfer ann bob 15 EUR => D ann 15.00 EUR C bob 15.00 EUR
transfer ann bob 0.01 EUR => insufficient_funds ann 0 1
withdraw bob 15.01 EUR => insufficient_funds bob 1500 1501
top_up ann 1 EUR fee 1 => opens fees:EUR, D clearing:EUR 1.00 EUR C ann 1.00 EUR D ann 1.00 EUR C fees:EUR 1.00 EUR
top_up ann 1 EUR fee 1.01 => insufficient_funds ann 0 1
entry D bob 16 EUR C bob 1 EUR C ann 15 EUR => D bob 16.00 EUR C bob 1.00 EUR C ann 15.00 EUR
balance bob => 0.00
entry D ann 1 EUR C pit 1 EUR => insufficient_funds pit 0 100
entry D pit 1 EUR C inc 1 EUR => D pit 1.00 EUR C inc 1.00 EUR
entry D inc 1.01 EUR C pit 1.01 EUR => insufficient_funds inc 100 101
entry D pit 1.01 EUR C exp 1.01 EUR => insufficient_funds exp 100 101
entry D pit 1 EUR C exp 1 EUR => D pit 1.00 EUR C exp 1.00 EUR
balance exp => -1.00
balance pit => 2.00

# The book's own accounts may fall without bound.
open ann liability EUR unlimited
withdraw ann m1000000000000000000000000 EUR
withdraw ann m1000000000000000000000000 EUR
balance ann => -20000000000000000000000.00
balance clearing:EUR => -20000000000000000000000.00

# Currencies: code and frozen exponent of the account.
open ann liability EUR
open usd liability USD
open odd liability EUR/3
top_up ann 10 EUR
top_up ann 10 USD => currency_mismatch ann EUR
withdraw ann 10 JPY => currency_mismatch ann EUR
transfer ann usd 1 EUR => currency_mismatch usd USD
transfer ann usd 1 USD => currency_mismatch ann EUR
transfer ann odd 1 EUR => currency_mismatch odd EUR
top_up odd 1 EUR/3 => currency_mismatch clearing:EUR EUR
entry D ann 1 EUR C usd 1 EUR => currency_mismatch usd USD

# Debits equal credits in each currency, not over all.
open ann liability EUR overdraft 100
open bob liability EUR
open usd liability USD overdraft 100
entry D ann 1 EUR C bob 2 EUR => entry_unbalanced EUR 100 200
entry D ann 1 EUR C usd 1 USD => entry_unbalanced EUR 100 0
entry D ann 1 EUR D bob 1 EUR => entry_unbalanced EUR 200 0
entry D ann 1 EUR C bob 1 EUR D usd 1 USD => entry_unbalanced USD 100 0

# Two postings at least.
entry => postings_out_of_bounds 0
entry D ann 1 EUR => postings_out_of_bounds 1

# Parties.
open ann liability EUR overdraft 10
transfer ann ann 1 EUR => same_account ann
transfer ann bob 1 EUR => account_not_found bob
transfer bob ann 1 EUR => account_not_found bob
top_up bob 1 EUR => account_not_found bob
withdraw bob 1 EUR => account_not_found bob
entry D ann 1 EUR C #9 1 EUR => account_not_found #9
top_up ann 1 EUR
top_up clearing:EUR 1 EUR => same_account clearing:EUR
withdraw clearing:EUR 1 EUR => same_account clearing:EUR
";

/// Each row holds several conditions; the first in the order of their numbers is the answer.
const PRECEDENCE: &str = "
# Before any account is looked at.
entry D ann 0 EUR => postings_out_of_bounds 1
entry D ann m1000000000000000000000001 EUR C bob 0 EUR => amount_not_positive
entry D ann m1000000000000000000000001 EUR C bob 1 EUR on 1800-01-01 => amount_too_large
entry D ann 0 EUR C bob 1 EUR on 1800-01-01 => amount_not_positive
top_up ann m1000000000000000000000001 EUR fee -1 => amount_not_positive
top_up ann m1000000000000000000000001 EUR on 1800-01-01 => amount_too_large
top_up ann 1 EUR on 1800-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
transfer ann ann 0 EUR => amount_not_positive
transfer ann ann 1 EUR on 1800-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
transfer ann ann 1 EUR => same_account ann
open a/b liability EUR overdraft m-1 => amount_not_positive
open a/b liability EUR overdraft m1000000000000000000000001 => amount_too_large
open ann liability EUR
open ann liability EUR overdraft m-1 => amount_not_positive
open a/b liability EUR as ann => account_code_invalid

# Among accounts: not found, closed, frozen, currency, balance, funds; then the first posting.
open shut liability EUR
open cold liability EUR
open usd liability USD
open ann liability EUR
open bob liability EUR
close shut
freeze cold
transfer shut gone 1 EUR => account_not_found gone
transfer cold shut 1 EUR => account_closed shut
transfer usd cold 1 EUR => account_frozen cold
transfer shut cold 1 USD => account_closed shut
transfer cold ann 1 USD => account_frozen cold
transfer ann bob 1 USD => currency_mismatch ann EUR
transfer ann usd 1 EUR => currency_mismatch usd USD
entry D ann 1 USD C bob 2 EUR => currency_mismatch ann EUR
entry D usd 1 EUR C cold 2 EUR => account_frozen cold
entry D cold 1 EUR C shut 2 EUR => account_closed shut
entry D shut 1 EUR C gone 2 EUR => account_not_found gone
entry D gone 1 EUR C lost 2 EUR => account_not_found gone
entry D ann 9 EUR C bob 8 EUR => entry_unbalanced EUR 900 800
entry D ann 9 EUR D bob 9 EUR C cold 1 EUR => account_frozen cold
entry D ann 1 EUR D bob 1 EUR C ann 2 EUR => insufficient_funds bob 0 100
withdraw shut 1 USD => account_closed shut
withdraw cold 1 USD => account_frozen cold
withdraw ann 1 USD => currency_mismatch ann EUR
top_up gone 1 EUR fee 5 => account_not_found gone
close shut => account_closed shut

# Acts on an account.
open ann liability EUR
top_up ann 1 EUR
freeze ann
close ann => account_not_empty ann 100
freeze gone => account_not_found gone
";

const HOLDS: &str = "
# A hold posts nothing and takes from what is available; a capture posts it, the last one releases the rest.
open ann liability EUR overdraft 5
open bob liability EUR
top_up ann 10 EUR
h1: hold ann 15.01 EUR => insufficient_funds ann 1500 1501
h2: hold ann 12 EUR reference bill => held
balance ann => 10.00
held ann => 12.00
transfer ann bob 3.01 EUR => insufficient_funds ann 300 301
transfer ann bob 3 EUR => D ann 3.00 EUR C bob 3.00 EUR
hold ann 0.01 EUR => insufficient_funds ann 0 1
capture h2 bob 4 EUR fee 0.50 => opens fees:EUR, D ann 4.50 EUR C bob 4.00 EUR C fees:EUR 0.50 EUR left 750 released 0
held ann => 7.50
capture h2 bob 7 EUR fee 0.51 => capture_above_hold 750 751
capture h2 bob 7.51 EUR last => capture_above_hold 750 751
capture h2 bob 2 EUR last on 2026-11-20 => D ann 2.00 EUR C bob 2.00 EUR on 2026-11-20 left 0 released 550
held ann => 0.00
balance ann => 0.50
capture h2 bob 1 EUR => hold_not_open
void h2 => hold_not_open
transfer ann bob 5.50 EUR => D ann 5.50 EUR C bob 5.50 EUR

# A capture of all closes the hold; a void gives back all that is left.
open ann liability EUR overdraft 10
open bob liability EUR
h1: hold ann 4 EUR => held
h2: hold ann 6 EUR => held
capture h1 bob 4 EUR => D ann 4.00 EUR C bob 4.00 EUR left 0 released 0
void h1 => hold_not_open
capture h2 bob 1 EUR => D ann 1.00 EUR C bob 1.00 EUR left 500 released 0
void h2 => voided 5.00 EUR
void h2 => hold_not_open
capture h2 bob 1 EUR => hold_not_open
held ann => 0.00

# No hold: an unknown id, a refused hold, another command.
open ann liability EUR overdraft 10
open bob liability EUR
h1: hold ann 99 EUR => insufficient_funds ann 1000 9900
e1: transfer ann bob 1 EUR => D ann 1.00 EUR C bob 1.00 EUR
capture gone bob 1 EUR => hold_not_found
void gone => hold_not_found
capture h1 bob 1 EUR => hold_not_found
void e1 => hold_not_found

# The deadline: after the time of recording, at most 400 days ahead; at it, the hold expires.
open ann liability EUR overdraft 10
open bob liability EUR
hold ann 1 EUR until 0 => expiry_out_of_range
hold ann 1 EUR until -1 => expiry_out_of_range
hold ann 1 EUR until 34560001 => expiry_out_of_range
h1: hold ann 1 EUR until 34560000 => held
h2: hold ann 2 EUR until 60 => held
h3: hold ann 3 EUR until 60 => held
h4: hold ann 4 EUR until 61 => held
wait 59 => 0 expired
capture h2 bob 0.50 EUR => D ann 0.50 EUR C bob 0.50 EUR left 150 released 0
held ann => 9.50
wait 1 => 2 expired
held ann => 5.00
capture h2 bob 0.50 EUR => hold_expired 0
void h3 => hold_expired 0
capture h4 bob 1 EUR last => D ann 1.00 EUR C bob 1.00 EUR left 0 released 300
void h4 => hold_not_open
wait 1 => 0 expired
void h4 => hold_expired 0
void h1 => voided 1.00 EUR

# A frozen account: nothing is held or captured, but what is held can be let go.
open ann liability EUR overdraft 10
open bob liability EUR
h1: hold ann 4 EUR
h2: hold ann 3 EUR until 60
freeze ann
hold ann 1 EUR => account_frozen ann
capture h1 bob 1 EUR => account_frozen ann
void h1 => voided 4.00 EUR
wait 60 => 1 expired
unfreeze ann
h3: hold ann 4 EUR
freeze bob
capture h3 bob 1 EUR => account_frozen bob
close bob
capture h3 bob 1 EUR => account_closed bob
close ann => account_has_holds ann 400
void h3
close ann => closed
hold ann 1 EUR => account_closed ann

# Who can be held, and in which currency.
open ann liability EUR overdraft 10
open pit asset EUR
open exp expense EUR unlimited
open inc income EUR overdraft 1
open equ equity EUR unlimited
open usd liability USD
hold gone 1 EUR => account_not_found gone
hold ann 0 EUR => amount_not_positive
hold ann m1000000000000000000000001 EUR => amount_too_large
hold ann 1 USD => currency_mismatch ann EUR
hold pit 1 EUR => hold_not_possible pit
hold exp 1 EUR => hold_not_possible exp
hold inc 1 EUR => held
hold equ m1000000000000000000000000 EUR => held
h1: hold ann 10 EUR => held
capture h1 usd 1 EUR => currency_mismatch usd USD
capture h1 usd 11 EUR => capture_above_hold 1000 1100
capture h1 usd 11 USD => currency_mismatch ann EUR
capture h1 ann 1 EUR => same_account ann
capture h1 gone 1 EUR => account_not_found gone
capture h1 gone 0 EUR => amount_not_positive
capture h1 gone 1 EUR fee -1 => amount_not_positive
capture h1 gone m1000000000000000000000000 EUR fee 1 => amount_too_large
capture h1 gone 1 EUR on 1800-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
capture h1 pit 1 EUR => insufficient_funds pit 0 100
";

const REVERSALS: &str = "
# In whole: the sides swapped, once.
open ann liability EUR
open bob liability EUR
top_up ann 10 EUR
e1: transfer ann bob 5 EUR fee 0.50
r1: reverse e1 => C ann 5.50 EUR D bob 5.00 EUR D fees:EUR 0.50 EUR
balance ann => 10.00
balance bob => 0.00
balance fees:EUR => 0.00
reverse e1 => original_reversed
reverse e1 0 1 1 1 => reversal_above_original 0 0 1
reverse r1 => original_is_reversal

# In parts, never more of a posting than was posted; then the rest.
open ann liability EUR
open bob liability EUR
top_up ann 10 EUR
e1: transfer ann bob 5 EUR fee 0.50
reverse e1 0 200 1 200 => C ann 2.00 EUR D bob 2.00 EUR
reverse e1 1 301 0 301 => reversal_above_original 1 300 301
reverse e1 0 351 1 301 => reversal_above_original 0 350 351
reverse e1 0 100 0 251 1 300 2 51 => reversal_above_original 0 250 251
reverse e1 3 1 0 1 => reversal_above_original 3 0 1
reverse e1 0 100 1 50 => entry_unbalanced EUR 50 100
reverse e1 2 25 0 25 on 2026-11-20 => D fees:EUR 0.25 EUR C ann 0.25 EUR on 2026-11-20
reverse e1 0 100 0 25 1 100 2 25 => C ann 1.00 EUR C ann 0.25 EUR D bob 1.00 EUR D fees:EUR 0.25 EUR
reverse e1 => C ann 2.00 EUR D bob 2.00 EUR
reverse e1 rest => original_reversed
balance ann => 10.00
balance bob => 0.00

# What can be reversed: entries and captures.
open ann liability EUR overdraft 10
open bob liability EUR
o1: open cat liability EUR
x1: transfer ann bob 99 EUR => insufficient_funds ann 1000 9900
h1: hold ann 5 EUR
c1: capture h1 bob 3 EUR last => D ann 3.00 EUR C bob 3.00 EUR left 0 released 200
reverse gone => original_not_found
reverse x1 => original_not_an_entry
reverse o1 => original_not_an_entry
reverse h1 => original_not_an_entry
reverse c1 => C ann 3.00 EUR D bob 3.00 EUR
me: reverse me => original_not_found

# Funds and accounts are checked as for any entry.
open ann liability EUR
open bob liability EUR
e1: top_up ann 10 EUR
e2: transfer ann bob 10 EUR
reverse e1 => insufficient_funds ann 0 1000
h1: hold bob 4 EUR
reverse e2 => insufficient_funds bob 600 1000
reverse e2 0 600 1 600 => C ann 6.00 EUR D bob 6.00 EUR
freeze ann
reverse e1 0 100 1 100 => account_frozen ann
reverse e2 0 500 1 500 => reversal_above_original 0 400 500

# Before the original is looked at.
reverse gone 0 1 => postings_out_of_bounds 1
reverse gone 0 0 1 0 => amount_not_positive
reverse gone 0 1 1 1000000000000000000000001 => amount_too_large
reverse gone 0 1 1 1 on 1800-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
";

const FEES: &str = "
# Without a rule, a fee that is left to it is nothing, and that is on record.
open ann liability EUR overdraft 100
open bob liability EUR
transfer ann bob 5 EUR fee rule => D ann 5.00 EUR C bob 5.00 EUR by rule 0
top_up ann 5 EUR fee rule => opens clearing:EUR, D clearing:EUR 5.00 EUR C ann 5.00 EUR by rule 0
h1: hold ann 5 EUR
capture h1 bob 2 EUR fee rule => D ann 2.00 EUR C bob 2.00 EUR by rule 0 left 300 released 0

# The rule of the kind and currency says; halves go to the even one; what the command names goes before it.
open ann liability EUR overdraft 1000
open bob liability EUR
open usd liability USD overdraft 1000
open uwe liability USD
fee_rule transfer EUR v3 fixed 0.10 ppm 2500 min 0.12 max 1 => set
transfer ann bob 10 EUR fee rule => opens fees:EUR, D ann 10.12 EUR C bob 10.00 EUR C fees:EUR 0.12 EUR by rule 3
transfer ann bob 14 EUR fee rule => D ann 14.14 EUR C bob 14.00 EUR C fees:EUR 0.14 EUR by rule 3
transfer ann bob 17 EUR fee rule => D ann 17.14 EUR C bob 17.00 EUR C fees:EUR 0.14 EUR by rule 3
transfer ann bob 1 EUR fee rule => D ann 1.12 EUR C bob 1.00 EUR C fees:EUR 0.12 EUR by rule 3
transfer ann bob 400 EUR fee rule => D ann 401.00 EUR C bob 400.00 EUR C fees:EUR 1.00 EUR by rule 3
transfer ann bob 1 EUR fee 0.50 => D ann 1.50 EUR C bob 1.00 EUR C fees:EUR 0.50 EUR
transfer ann bob 1 EUR => D ann 1.00 EUR C bob 1.00 EUR
transfer usd uwe 1 USD fee rule => D usd 1.00 USD C uwe 1.00 USD by rule 0
withdraw ann 1 EUR fee rule => opens clearing:EUR, D ann 1.00 EUR C clearing:EUR 1.00 EUR by rule 0
fee_rule withdrawal EUR v1 fixed 0.30 => set
withdraw ann 1 EUR fee rule => D ann 1.30 EUR C clearing:EUR 1.00 EUR C fees:EUR 0.30 EUR by rule 1
fee_rule top_up EUR v1 ppm 10000 => set
top_up bob 20 EUR fee rule => D clearing:EUR 20.00 EUR C bob 20.00 EUR D bob 0.20 EUR C fees:EUR 0.20 EUR by rule 1
fee_rule capture EUR v1 fixed 0.05 => set
h1: hold ann 5 EUR
capture h1 bob 2 EUR fee rule => D ann 2.05 EUR C bob 2.00 EUR C fees:EUR 0.05 EUR by rule 1 left 295 released 0
capture h1 bob 2.91 EUR fee rule => capture_above_hold 295 296
fee_rule transfer EUR v4 => set
transfer ann bob 1 EUR fee rule => D ann 1.00 EUR C bob 1.00 EUR by rule 4

# A fee by the rule counts with the amount, as any fee.
open ann liability EUR overdraft 1
open bob liability EUR
fee_rule transfer EUR v1 fixed 0.01
transfer ann bob 1 EUR fee rule => insufficient_funds ann 100 101
transfer ann bob 0 EUR fee rule => amount_not_positive
transfer ann bob m1000000000000000000000000 EUR fee rule => amount_too_large
transfer ann bob m1000000000000000000000001 EUR fee rule => amount_too_large
transfer ann bob 0.99 EUR fee rule => opens fees:EUR, D ann 1.00 EUR C bob 0.99 EUR C fees:EUR 0.01 EUR by rule 1

# What a rule can't be, and its versions.
fee_rule transfer EUR v1 fixed -0.01 => fee_rule_invalid
fee_rule transfer EUR v1 min -0.01 => fee_rule_invalid
fee_rule transfer EUR v1 max -0.01 => fee_rule_invalid
fee_rule transfer EUR v1 ppm 1000001 => fee_rule_invalid
fee_rule transfer EUR v1 min 0.02 max 0.01 => fee_rule_invalid
fee_rule transfer EUR v1 ppm 1000001 fixed m1000000000000000000000001 => fee_rule_invalid
fee_rule transfer EUR v1 fixed m1000000000000000000000001 => amount_too_large
fee_rule transfer EUR v1 max m1000000000000000000000001 => amount_too_large
fee_rule transfer EUR v0 fixed m1000000000000000000000001 => amount_too_large
fee_rule transfer EUR v0 => version_not_newer 0
fee_rule transfer EUR v2 ppm 1000000 min m1000000000000000000000000 max m1000000000000000000000000 => set
fee_rule transfer EUR v2 => version_not_newer 2
fee_rule transfer EUR v1 => version_not_newer 2
fee_rule transfer USD v1 => set
fee_rule capture EUR v1 => set
";

const PERIODS: &str = "
# A period is closed when it is over, and later ones after earlier ones.
open ann liability EUR overdraft 10
open bob liability EUR
e1: transfer ann bob 1 EUR
h1: hold ann 1 EUR
close_period 2026-11-21 => period_not_over 2026-11-21
close_period 2027-01-01 => period_not_over 2026-11-21
close_period 2026-10-31 => closed through 2026-10-31
close_period 2026-10-31 => period_closed 2026-10-31
close_period 2026-09-30 => period_closed 2026-10-31

# Nothing is posted into it; what has no date, or a later one, is.
open ann liability EUR overdraft 10
open bob liability EUR
e1: transfer ann bob 1 EUR
h1: hold ann 2 EUR
close_period 2026-10-31
top_up ann 1 EUR on 2026-10-31 => period_closed 2026-10-31
withdraw ann 1 EUR on 2026-10-01 => period_closed 2026-10-31
transfer ann bob 1 EUR on 1993-01-05 => period_closed 2026-10-31
up_to ann bob 1 EUR on 2026-10-31 => period_closed 2026-10-31
entry D ann 1 EUR C bob 1 EUR on 2026-10-31 => period_closed 2026-10-31
capture h1 bob 1 EUR on 2026-10-31 => period_closed 2026-10-31
reverse e1 on 2026-10-31 => period_closed 2026-10-31
transfer ann ann 1 EUR on 2026-10-31 => period_closed 2026-10-31
transfer ann bob 0 EUR on 2026-10-31 => amount_not_positive
transfer ann bob 1 EUR on 1800-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
capture gone bob 1 EUR on 2026-10-31 => period_closed 2026-10-31
reverse gone on 2026-10-31 => period_closed 2026-10-31
transfer ann bob 1 EUR on 2026-11-01 => D ann 1.00 EUR C bob 1.00 EUR on 2026-11-01
reverse e1 => C ann 1.00 EUR D bob 1.00 EUR
capture h1 bob 1 EUR => D ann 1.00 EUR C bob 1.00 EUR left 100 released 0
close_period 2026-11-20 => closed through 2026-11-20
transfer ann bob 1 EUR on 2026-11-20 => period_closed 2026-11-20
transfer ann bob 1 EUR on 2026-11-21 => D ann 1.00 EUR C bob 1.00 EUR
wait 43199 => 0 expired
close_period 2026-11-21 => period_not_over 2026-11-21
wait 1 => 0 expired
close_period 2026-11-21 => closed through 2026-11-21
transfer ann bob 1 EUR on 2026-11-21 => period_closed 2026-11-21
transfer ann bob 1 EUR => D ann 1.00 EUR C bob 1.00 EUR

# A customer's preferences are known by their version.
prefer client:1 v0 => version_not_newer 0
prefer client:1 v1 => set
prefer client:1 v1 => version_not_newer 1
prefer client:2 v7 => set
prefer client:1 v2 => set
prefer client:2 v6 => version_not_newer 7
";

const UP_TO: &str = "
# What is available moves, up to the amount: balance, overdraft, less what is held.
open ann liability EUR overdraft 5
open bob liability EUR
open lim liability EUR unlimited
open pit asset EUR
top_up ann 10 EUR
hold ann 2 EUR
up_to ann bob 4 EUR => D ann 4.00 EUR C bob 4.00 EUR
e1: up_to ann bob 100 EUR reference all on 2026-11-20 => D ann 9.00 EUR C bob 9.00 EUR on 2026-11-20
up_to ann bob 1 EUR => insufficient_funds ann 0 1
up_to lim bob 7 EUR => D lim 7.00 EUR C bob 7.00 EUR
reverse e1 0 300 1 300 => C ann 3.00 EUR D bob 3.00 EUR

# Where debits raise the sender, it gives without bound; the receiver must have what credits take from it.
open pit asset EUR
open ann liability EUR
open bob liability EUR
up_to pit ann 3 EUR => D pit 3.00 EUR C ann 3.00 EUR
up_to ann pit 5 EUR => D ann 3.00 EUR C pit 3.00 EUR
top_up bob 10 EUR
up_to bob pit 5 EUR => insufficient_funds pit 0 500

# In the order of precedence.
open ann liability EUR
open bob liability EUR
open usd liability USD
up_to ann ann 0 EUR on 1800-01-01 => amount_not_positive
up_to ann ann m1000000000000000000000001 EUR on 1800-01-01 => amount_too_large
up_to ann ann 1 EUR on 1800-01-01 => effective_date_out_of_range 1900-01-01 2027-11-22
up_to ann ann 1 EUR => same_account ann
up_to ann gone 1 EUR => account_not_found gone
up_to ann usd 1 EUR => currency_mismatch usd USD
freeze bob
up_to usd bob 1 EUR => account_frozen bob
up_to ann bob 1 EUR => account_frozen bob
unfreeze bob
up_to ann bob 1 EUR => insufficient_funds ann 0 1
close bob
up_to ann bob 1 EUR => account_closed bob
";

const LIMITS: &str = "
# What limits can't be, and their versions.
limits client:1 EUR v1 per 0 => limit_not_positive
limits client:1 EUR v1 day -0.01 => limit_not_positive
limits client:1 EUR v1 per 1 month m0 => limit_not_positive
limits client:1 EUR v1 per 0 month m1000000000000000000000001 => limit_not_positive
limits client:1 EUR v1 month m1000000000000000000000001 => amount_too_large
limits client:1 EUR v0 day m1000000000000000000000001 => amount_too_large
limits client:1 EUR v0 per 1 => version_not_newer 0
limits client:1 EUR v3 per 5 day 10 month 20 => set
limits client:1 EUR v3 => version_not_newer 3
limits client:1 EUR v2 per 1 => version_not_newer 3
limits client:1 EUR v4 => set
limits client:1 USD v1 day m1000000000000000000000000 => set
limits client:2 EUR v1 => set

# What a calendar can't be, and its versions.
calendar v0 from 2026-11-21 starts => version_not_newer 0
calendar v1 from 2026-11-21 starts => calendar_invalid 0
calendar v1 from 2026-11-21 starts -12 => calendar_invalid 1
calendar v1 from 2026-11-21 starts -31 12 => calendar_invalid 0
calendar v1 from 2026-11-21 starts 7 31 => calendar_invalid 0
calendar v1 from 2026-11-21 starts 6 30 => set
calendar v1 from 2026-11-21 starts -12 12 => version_not_newer 1
calendar v2 from 2026-11-21 starts -30 -10 => set
calendar v3 from 2026-11-21 starts -12 12 41 => calendar_invalid 2
calendar v3 from 2026-11-21 starts -12 -12 => calendar_invalid 1
calendar v3 from 2026-11-21 starts -12 7 36 => calendar_invalid 1
calendar v3 from 2026-11-21 starts -12 16 36 => set

# What leaves is counted by transfer, day and month, fees included, over all accounts of the customer.
calendar v1 from 2026-11-20 starts -36 -12 12 36
limits client:1 EUR v1 per 5 day 10 month 12
open ann liability EUR overdraft 100 owner client:1
open ada liability EUR overdraft 100 owner client:1
open bob liability EUR overdraft 100
transfer ann bob 5.01 EUR => limit_exceeded ann per_transfer 500 0 501 never
transfer ann bob 4.90 EUR fee 0.11 => limit_exceeded ann per_transfer 500 0 501 never
transfer ann bob 4.90 EUR fee 0.10 => opens fees:EUR, charges 5.00 EUR on 2026-11-21 (500 500), D ann 5.00 EUR C bob 4.90 EUR C fees:EUR 0.10 EUR
withdraw ada 4 EUR => opens clearing:EUR, charges 4.00 EUR on 2026-11-21 (900 900), D ada 4.00 EUR C clearing:EUR 4.00 EUR
fee_rule transfer EUR v1 fixed 0.02
transfer ann bob 0.99 EUR fee rule => limit_exceeded ann day 1000 900 101 2026-11-22T00:00:00.000000Z
transfer ada bob 1 EUR => charges 1.00 EUR on 2026-11-21 (1000 1000), D ada 1.00 EUR C bob 1.00 EUR
transfer ann bob 0.01 EUR => limit_exceeded ann day 1000 1000 1 2026-11-22T00:00:00.000000Z
wait 43199 => 0 expired
withdraw ann 0.01 EUR => limit_exceeded ann day 1000 1000 1 2026-11-22T00:00:00.000000Z
wait 1 => 0 expired
transfer ann bob 2.01 EUR => limit_exceeded ann month 1200 1000 201 never
transfer ann bob 2 EUR => charges 2.00 EUR on 2026-11-22 (200 1200), D ann 2.00 EUR C bob 2.00 EUR
transfer ann bob 1 EUR => limit_exceeded ann month 1200 1200 100 never

# The next month begins when the calendar says so.
wait 777600
calendar v1 from 2026-11-30 starts -13 11 35
limits client:1 EUR v1 month 12
open ann liability EUR overdraft 100 owner client:1
open bob liability EUR
transfer ann bob 12 EUR => charges 12.00 EUR on 2026-11-30 (1200 1200), D ann 12.00 EUR C bob 12.00 EUR
transfer ann bob 1 EUR => limit_exceeded ann month 1200 1200 100 2026-11-30T23:00:00.000000Z
wait 39600 => 0 expired
transfer ann bob 1 EUR => charges 1.00 EUR on 2026-12-01 (100 100), D ann 1.00 EUR C bob 1.00 EUR

# What does not leave the customer, or is an act of the house, does not count; another currency counts for itself.
calendar v1 from 2026-11-20 starts -36 -12 12 36
limits client:1 EUR v1 day 1
open ann liability EUR overdraft 100 owner client:1
open ada liability EUR owner client:1
open pit asset EUR unlimited owner client:1
open inc income EUR unlimited owner client:1
open bob liability EUR owner client:2
open usd liability USD overdraft 100 owner client:1
open uwe liability USD
transfer ann ada 5 EUR => D ann 5.00 EUR C ada 5.00 EUR
transfer ann ada 5 EUR fee 2 => opens fees:EUR, D ann 7.00 EUR C ada 5.00 EUR C fees:EUR 2.00 EUR
transfer ann pit 2 EUR => limit_exceeded ann day 100 0 200 2026-11-22T00:00:00.000000Z
transfer inc bob 2 EUR => D inc 2.00 EUR C bob 2.00 EUR
top_up ann 1 EUR fee 5 => opens clearing:EUR, D clearing:EUR 1.00 EUR C ann 1.00 EUR D ann 5.00 EUR C fees:EUR 5.00 EUR
entry D ann 9 EUR C bob 9 EUR => D ann 9.00 EUR C bob 9.00 EUR
transfer usd uwe 9 USD => D usd 9.00 USD C uwe 9.00 USD
transfer bob ann 3 EUR => D bob 3.00 EUR C ann 3.00 EUR
e1: transfer ann bob 1 EUR => charges 1.00 EUR on 2026-11-21 (100 100), D ann 1.00 EUR C bob 1.00 EUR
reverse e1 => C ann 1.00 EUR D bob 1.00 EUR
transfer ann bob 0.01 EUR => limit_exceeded ann day 100 100 1 2026-11-22T00:00:00.000000Z

# A hold is charged when it is placed; captures use that, and what it releases goes back to the day it was charged to.
calendar v1 from 2026-11-20 starts -36 -12 12 36
limits client:1 EUR v1 day 10 month 15
open ann liability EUR overdraft 100 owner client:1
open bob liability EUR
h1: hold ann 6 EUR => charges 6.00 EUR on 2026-11-21 (600 600), held
hold ann 5 EUR => limit_exceeded ann day 1000 600 500 2026-11-22T00:00:00.000000Z
h2: hold ann 4 EUR until 43260 => charges 4.00 EUR on 2026-11-21 (1000 1000), held
capture h1 bob 2 EUR => D ann 2.00 EUR C bob 2.00 EUR left 400 released 0
transfer ann bob 0.01 EUR => limit_exceeded ann day 1000 1000 1 2026-11-22T00:00:00.000000Z
capture h1 bob 1 EUR last => returns 3.00 EUR of 2026-11-21 (700 700), D ann 1.00 EUR C bob 1.00 EUR left 0 released 300
transfer ann bob 3 EUR => charges 3.00 EUR on 2026-11-21 (1000 1000), D ann 3.00 EUR C bob 3.00 EUR
wait 43200 => 0 expired
h4: hold ann 2 EUR => charges 2.00 EUR on 2026-11-22 (200 1200), held
wait 60 => 1 expired
transfer ann bob 7 EUR => charges 7.00 EUR on 2026-11-22 (900 1500), D ann 7.00 EUR C bob 7.00 EUR
void h4 => returns 2.00 EUR of 2026-11-22 (700 1300), voided 2.00 EUR
h5: hold ann 1 EUR => charges 1.00 EUR on 2026-11-22 (800 1400), held
capture h5 bob 1 EUR last => D ann 1.00 EUR C bob 1.00 EUR left 0 released 0
void h5 => hold_not_open

# Limits that change and go away: usage stays what it was; what was held without limits gives nothing back.
calendar v1 from 2026-11-20 starts -36 -12 12 36
open ann liability EUR overdraft 1000 owner client:1
open bob liability EUR
h1: hold ann 6 EUR => held
limits client:1 EUR v1 day 10
void h1 => voided 6.00 EUR
h2: hold ann 6 EUR => charges 6.00 EUR on 2026-11-21 (600 600), held
limits client:1 EUR v2 day 8
transfer ann bob 3 EUR => limit_exceeded ann day 800 600 300 2026-11-22T00:00:00.000000Z
transfer ann bob 2 EUR => charges 2.00 EUR on 2026-11-21 (800 800), D ann 2.00 EUR C bob 2.00 EUR
limits client:1 EUR v3
transfer ann bob 50 EUR => D ann 50.00 EUR C bob 50.00 EUR
capture h2 bob 1 EUR last => returns 5.00 EUR of 2026-11-21 (300 300), D ann 1.00 EUR C bob 1.00 EUR left 0 released 500
limits client:1 EUR v4 day 5
transfer ann bob 3 EUR => limit_exceeded ann day 500 300 300 2026-11-22T00:00:00.000000Z
transfer ann bob 2 EUR => charges 2.00 EUR on 2026-11-21 (500 500), D ann 2.00 EUR C bob 2.00 EUR

# Where a limit applies, the day has to be known.
limits client:1 EUR v1 per 5
open ann liability EUR overdraft 100 owner client:1
open bob liability EUR overdraft 100
transfer ann bob 1 EUR => calendar_missing
transfer ann bob 6 EUR => calendar_missing
withdraw ann 1 EUR => calendar_missing
hold ann 1 EUR => calendar_missing
up_to ann bob 1 EUR => calendar_missing
transfer bob ann 1 EUR => D bob 1.00 EUR C ann 1.00 EUR
calendar v1 from 2026-11-20 starts -36 -12 => set
transfer ann bob 1 EUR => calendar_missing
calendar v2 from 2026-11-22 starts 12 36 => set
transfer ann bob 1 EUR => calendar_missing
wait 43200
h1: hold ann 1 EUR => charges 1.00 EUR on 2026-11-22 (100 100), held
wait 86399
transfer ann bob 1 EUR => charges 1.00 EUR on 2026-11-22 (200 200), D ann 1.00 EUR C bob 1.00 EUR
wait 1
transfer ann bob 1 EUR => calendar_missing
void h1 => returns 1.00 EUR of 2026-11-22 (100 100), voided 1.00 EUR

# Another calendar does not bring a day back that is over.
calendar v1 from 2026-11-22 starts -4 20 44
limits client:1 EUR v1 day 10
open ann liability EUR overdraft 100 owner client:1
open bob liability EUR
transfer ann bob 6 EUR => charges 6.00 EUR on 2026-11-22 (600 600), D ann 6.00 EUR C bob 6.00 EUR
calendar v2 from 2026-11-20 starts -36 -12 12 36 60
transfer ann bob 5 EUR => limit_exceeded ann day 1000 600 500 2026-11-23T00:00:00.000000Z
transfer ann bob 4 EUR => charges 4.00 EUR on 2026-11-22 (1000 1000), D ann 4.00 EUR C bob 4.00 EUR
wait 43200
transfer ann bob 1 EUR => limit_exceeded ann day 1000 1000 100 2026-11-23T00:00:00.000000Z
wait 86400
transfer ann bob 1 EUR => charges 1.00 EUR on 2026-11-23 (100 1100), D ann 1.00 EUR C bob 1.00 EUR

# Limits come behind accounts and before funds.
calendar v1 from 2026-11-20 starts -36 -12 12 36
limits client:1 EUR v1 per 5
open ann liability EUR owner client:1
open bob liability EUR
open usd liability USD
transfer ann gone 6 EUR => account_not_found gone
transfer ann usd 6 EUR => currency_mismatch usd USD
transfer ann bob 6 EUR => limit_exceeded ann per_transfer 500 0 600 never
transfer ann bob 5 EUR => insufficient_funds ann 0 500
withdraw ann 6 EUR => limit_exceeded ann per_transfer 500 0 600 never
hold ann 6 EUR => limit_exceeded ann per_transfer 500 0 600 never
hold ann 5 EUR => insufficient_funds ann 0 500
up_to ann bob 6 EUR => insufficient_funds ann 0 1

# What moves up to an amount stays within the limits.
calendar v1 from 2026-11-20 starts -36 -12 12 36
limits client:1 EUR v1 per 5 day 7
open ann liability EUR overdraft 100 owner client:1
open ada liability EUR owner client:1
open bob liability EUR
up_to ann ada 8 EUR => D ann 8.00 EUR C ada 8.00 EUR
up_to ann bob 50 EUR => charges 5.00 EUR on 2026-11-21 (500 500), D ann 5.00 EUR C bob 5.00 EUR
up_to ada bob 1 EUR => charges 1.00 EUR on 2026-11-21 (600 600), D ada 1.00 EUR C bob 1.00 EUR
up_to ann bob 50 EUR => charges 1.00 EUR on 2026-11-21 (700 700), D ann 1.00 EUR C bob 1.00 EUR
up_to ann bob 50 EUR => limit_exceeded ann day 700 700 1 2026-11-22T00:00:00.000000Z
";

fn check(table: &str) {
    let mut desk = Desk::new();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("# ") {
            desk = Desk::new();
            continue;
        }
        rows += 1;
        let (asked, expected) = line.split_once("=>").unwrap_or((line, ""));
        let (said, expected) = (desk.say(asked.trim()), expected.trim());
        // Only refusals have underscores in what is said.
        let fits = if expected.is_empty() { !said.contains('_') } else { said == expected };
        if !fits {
            wrong.push(format!("{asked} => {said}\n    expected {expected}"));
        }
    }
    assert!(rows > 10);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn accounts() {
    check(ACCOUNTS);
}

#[test]
fn postings() {
    check(POSTINGS);
}

#[test]
fn money() {
    check(MONEY);
}

#[test]
fn precedence() {
    check(PRECEDENCE);
}

#[test]
fn holds() {
    check(HOLDS);
}

#[test]
fn reversals() {
    check(REVERSALS);
}

#[test]
fn fees() {
    check(FEES);
}

#[test]
fn periods_and_preferences() {
    check(PERIODS);
}

#[test]
fn transfers_up_to_an_amount() {
    check(UP_TO);
}

#[test]
fn limits() {
    check(LIMITS);
}

#[test]
fn every_rejection_has_a_row() {
    let rows = [ACCOUNTS, POSTINGS, MONEY, PRECEDENCE, HOLDS, REVERSALS, FEES, PERIODS, UP_TO, LIMITS].concat();
    for code in [
        "postings_out_of_bounds",
        "amount_not_positive",
        "amount_too_large",
        "effective_date_out_of_range",
        "account_code_invalid",
        "account_exists",
        "same_account",
        "account_not_found",
        "account_closed",
        "account_frozen",
        "account_not_frozen",
        "currency_mismatch",
        "entry_unbalanced",
        "account_not_empty",
        "insufficient_funds",
        "expiry_out_of_range",
        "hold_not_found",
        "hold_not_open",
        "hold_expired",
        "original_not_found",
        "original_not_an_entry",
        "original_is_reversal",
        "original_reversed",
        "reversal_above_original",
        "capture_above_hold",
        "hold_not_possible",
        "account_has_holds",
        "limit_not_positive",
        "limit_exceeded",
        "calendar_invalid",
        "calendar_missing",
        "fee_rule_invalid",
        "version_not_newer",
        "period_closed",
        "period_not_over",
    ] {
        assert!(rows.contains(&format!("=> {code}")), "{code}");
    }
}

#[test]
fn an_entry_has_at_most_a_thousand_postings() {
    let pairs = |count| format!("entry {}", "D ann 1 EUR C ann 1 EUR ".repeat(count));
    let mut desk = Desk::new();
    desk.say("open ann liability EUR");
    assert!(desk.say(&pairs(POSTINGS_MAX / 2)).starts_with("D ann 1.00 EUR C ann"));
    // One more is not even admitted, since no journal could quote it.
    let body = desk.command(&pairs(POSTINGS_MAX / 2 + 1));
    let command = Command { id: CommandId(1), actor: desk::ACTOR, body };
    assert_eq!(bound::check(&command), Err(OutOfBounds("postings")));
}

fn event(postings: Vec<Posting>) -> Event {
    Event::engine(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on: desk::NOON.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into(),
    }))
}

fn verdict(desk: &mut Desk, line: &str) -> Verdict {
    let command = Command { id: CommandId(1), actor: desk::ACTOR, body: desk.command(line) };
    asked::verdict(&decide(&desk.state, Context::at(desk.recorded_at), &command).verdict)
}

/// `balance_overflow`: reached only after 10^12 of the largest entries, so the totals are set by applying such events.
#[test]
fn totals_stay_below_their_bound() {
    let mut desk = Desk::new();
    desk.say("open ann liability EUR unlimited");
    desk.say("open bob liability EUR unlimited");
    let (ann, bob) = (desk.account("ann"), desk.account("bob"));
    let eur = |minor| Money::new(minor, "EUR".parse().unwrap());
    let near = eur(TOTAL_MAX_MINOR - 1);
    desk.state.apply(&event(vec![Posting::debit(ann, near), Posting::credit(bob, near)])).unwrap();
    let refused = |account| Verdict::Rejected(Rejection::BalanceOverflow { account });
    for (line, expected) in [
        ("transfer ann bob m2 EUR", refused(ann)),
        ("entry D bob m2 EUR C bob m2 EUR", refused(bob)),
        ("transfer ann bob m1 EUR", Verdict::Accepted),
        ("transfer bob ann m2 EUR", Verdict::Accepted),
    ] {
        assert_eq!(verdict(&mut desk, line), expected, "{line}");
    }
    // Applying what decide would never say is refused, and leaves the state as it was, wherever in the entry it fails.
    let before = desk.state.digest();
    for wrong in [
        vec![Posting::debit(ann, near), Posting::credit(bob, near)],
        vec![Posting::debit(bob, eur(1)), Posting::credit(ann, eur(1)), Posting::credit(bob, near)],
        vec![Posting::debit(bob, eur(1)), Posting::credit(AccountId(9), eur(1))],
    ] {
        assert!(desk.state.apply(&event(wrong)).is_err());
        assert_eq!(desk.state.digest(), before);
    }
}

/// An account below its floor, as a later rule or another policy may leave one, takes money and gives none.
#[test]
fn an_account_below_its_floor_may_rise() {
    let mut desk = Desk::new();
    desk.say("open ann liability EUR");
    desk.say("open bob liability EUR unlimited");
    let (ann, bob) = (desk.account("ann"), desk.account("bob"));
    let owed = Money::new(500, "EUR".parse().unwrap());
    desk.state.apply(&event(vec![Posting::debit(ann, owed), Posting::credit(bob, owed)])).unwrap();
    let refused = Rejection::InsufficientFunds { account: ann, available_minor: -500, required_minor: 1 };
    for (line, expected) in [
        ("top_up ann 1 EUR", Verdict::Accepted),
        ("transfer bob ann 4 EUR", Verdict::Accepted),
        ("entry D ann 1 EUR C ann 1 EUR", Verdict::Accepted),
        ("top_up ann 1 EUR fee 1.01", Verdict::Rejected(refused.clone())),
        ("up_to ann bob 0.01 EUR", Verdict::Rejected(refused.clone())),
        ("transfer ann bob 0.01 EUR", Verdict::Rejected(refused)),
    ] {
        assert_eq!(verdict(&mut desk, line), expected, "{line}");
    }
}
