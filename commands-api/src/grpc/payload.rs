//! What stands in the `content` of submissions and replies: commands, answers, previews, recorded events and faults, in canonical
//! bytes.
//!
//! Commands, rejections and events have their canonical form from event-schemas. What is only said between processes (an answer,
//! a fault) has its own here, which is part of the protocol's version. Whatever is read is bounded by the frame that it came in.

use std::collections::HashSet;
use std::sync::{LazyLock, PoisonError, RwLock};

use event_schemas::bounds::BATCH_MAX_COMMANDS;
use event_schemas::codec::{
    CodecError, Reader, put_currency, put_id, put_option, put_signed, put_text, put_time, put_varint,
};
use event_schemas::command::{AccountKind, BalancePolicy};
use event_schemas::{
    AccountId, BookId, Command, CommandBody, CommandId, Epoch, Event, PrincipalId, RecordedEvent, Rejection, Sequence,
};
use ledger_core::ports::{Answer, EngineFault, EngineStatus, Preview, Previews, SubmitError, Verdict, WriterState};
use ledger_core::state::{Account, AccountStatus};

/// What a submission comes to, of whatever kind it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of commands.
    Answers(Vec<Answer>),
    /// Of a dry run.
    Previews(Previews),
    /// Of a lookup.
    Found(Option<Box<RecordedEvent>>),
    /// Of any.
    Fault(EngineFault),
}

/// The most texts that [`interned`] keeps. Names of fields are few; a writer that sends others is not to fill the memory.
const INTERNED_MAX: usize = 4_096;

/// What stands for a name when there are too many.
const UNNAMED: &str = "field";

/// A name of a field, as the engine gives it: with the life of the program. Each is kept once.
fn interned(name: &str) -> &'static str {
    static NAMES: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);
    if let Some(known) = NAMES.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return known;
    }
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    if names.len() >= INTERNED_MAX {
        return UNNAMED;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    put_varint(out, number.into());
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varint(out, u128::try_from(length).unwrap_or(0));
}

/// A count of things that take a byte at least.
fn count(reader: &mut Reader<'_>, what: &'static str) -> Result<usize, CodecError> {
    let count: usize = reader.number(what)?;
    if count > reader.remaining() { Err(CodecError::NotCanonical(what)) } else { Ok(count) }
}

fn whole<T>(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, CodecError>) -> Result<T, CodecError> {
    let mut reader = Reader::new(bytes);
    let found = read(&mut reader)?;
    reader.finish()?;
    Ok(found)
}

/// The content of a submission of commands.
pub fn commands(commands: &[Command]) -> Vec<u8> {
    let mut out = Vec::with_capacity(commands.len().saturating_mul(96));
    put_length(&mut out, commands.len());
    for command in commands {
        put_id(&mut out, command.id.0);
        put_id(&mut out, command.actor.0);
        command.body.encode(&mut out);
    }
    out
}

/// Reads the content of a submission of commands.
pub fn read_commands(bytes: &[u8]) -> Result<Vec<Command>, CodecError> {
    whole(bytes, |reader| {
        let count = count(reader, "number of commands")?;
        if count > BATCH_MAX_COMMANDS {
            return Err(CodecError::NotCanonical("number of commands"));
        }
        (0..count)
            .map(|_| {
                Ok(Command {
                    id: CommandId(reader.id("command")?),
                    actor: PrincipalId(reader.id("actor")?),
                    body: CommandBody::decode(reader)?,
                })
            })
            .collect()
    })
}

/// The content of a lookup.
pub fn lookup(id: CommandId) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    put_id(&mut out, id.0);
    out
}

/// Reads the content of a lookup.
pub fn read_lookup(bytes: &[u8]) -> Result<CommandId, CodecError> {
    whole(bytes, |reader| Ok(CommandId(reader.id("command")?)))
}

fn put_verdict(out: &mut Vec<u8>, verdict: &Verdict) {
    match verdict {
        Verdict::Accepted => out.push(1),
        Verdict::Rejected(rejection) => {
            out.push(2);
            rejection.encode(out);
        }
    }
}

fn read_verdict(reader: &mut Reader<'_>) -> Result<Verdict, CodecError> {
    match reader.byte("verdict")? {
        1 => Ok(Verdict::Accepted),
        2 => Ok(Verdict::Rejected(Rejection::decode(reader)?)),
        tag => Err(CodecError::UnknownTag { what: "verdict", tag: tag.into() }),
    }
}

fn put_answer(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Recorded { verdict, sequence, recorded_at, replayed } => {
            out.push(1);
            put_verdict(out, verdict);
            put_number(out, sequence.0);
            put_time(out, *recorded_at);
            out.push(u8::from(*replayed));
        }
        Answer::Conflict { field, sequence } => {
            out.push(2);
            put_text(out, field);
            put_number(out, sequence.0);
        }
    }
}

fn read_answer(reader: &mut Reader<'_>) -> Result<Answer, CodecError> {
    match reader.byte("answer")? {
        1 => Ok(Answer::Recorded {
            verdict: read_verdict(reader)?,
            sequence: Sequence(reader.number("sequence")?),
            recorded_at: reader.time()?,
            replayed: reader.flag("replayed")?,
        }),
        2 => Ok(Answer::Conflict {
            field: interned(&reader.text("field")?),
            sequence: Sequence(reader.number("sequence")?),
        }),
        tag => Err(CodecError::UnknownTag { what: "answer", tag: tag.into() }),
    }
}

fn put_account(out: &mut Vec<u8>, account: &Account) {
    let Account {
        id,
        debits_posted_minor,
        credits_posted_minor,
        debits_pending_minor,
        credits_pending_minor,
        policy,
        currency,
        kind,
        status,
    } = account;
    put_id(out, id.0);
    for minor in [debits_posted_minor, credits_posted_minor, debits_pending_minor, credits_pending_minor] {
        put_signed(out, *minor);
    }
    let overdraft_minor = match policy {
        BalancePolicy::Limited { overdraft_minor } => Some(*overdraft_minor),
        BalancePolicy::Unlimited => None,
    };
    put_option(out, overdraft_minor, put_signed);
    put_currency(out, *currency);
    out.push(kind.number());
    out.push(status.number());
}

fn read_account(reader: &mut Reader<'_>) -> Result<Account, CodecError> {
    Ok(Account {
        id: AccountId(reader.id("account")?),
        debits_posted_minor: reader.signed("debits")?,
        credits_posted_minor: reader.signed("credits")?,
        debits_pending_minor: reader.signed("pending debits")?,
        credits_pending_minor: reader.signed("pending credits")?,
        policy: reader
            .option("overdraft", |reader| reader.signed("overdraft"))?
            .map_or(BalancePolicy::Unlimited, |overdraft_minor| BalancePolicy::Limited { overdraft_minor }),
        currency: reader.currency()?,
        kind: AccountKind::from_number(reader.byte("account kind")?).ok_or(CodecError::NotCanonical("account kind"))?,
        status: AccountStatus::from_number(reader.byte("account status")?)
            .ok_or(CodecError::NotCanonical("account status"))?,
    })
}

fn put_preview(out: &mut Vec<u8>, preview: &Preview) {
    match preview {
        Preview::Expected { verdict, accounts, events } => {
            out.push(1);
            put_verdict(out, verdict);
            put_length(out, accounts.len());
            for account in accounts {
                put_account(out, account);
            }
            put_length(out, events.len());
            for body in events {
                Event::engine(body.clone()).encode(out);
            }
        }
        Preview::Known(answer) => {
            out.push(2);
            put_answer(out, answer);
        }
    }
}

fn read_preview(reader: &mut Reader<'_>) -> Result<Preview, CodecError> {
    match reader.byte("preview")? {
        1 => {
            let verdict = read_verdict(reader)?;
            let accounts =
                (0..count(reader, "number of accounts")?).map(|_| read_account(reader)).collect::<Result<_, _>>()?;
            let events = (0..count(reader, "number of events")?)
                .map(|_| Event::decode(reader).map(|event| event.body))
                .collect::<Result<_, _>>()?;
            Ok(Preview::Expected { verdict, accounts, events })
        }
        2 => Ok(Preview::Known(read_answer(reader)?)),
        tag => Err(CodecError::UnknownTag { what: "preview", tag: tag.into() }),
    }
}

fn put_refused(out: &mut Vec<u8>, error: SubmitError) {
    match error {
        SubmitError::Busy { retry_after_ms } => {
            out.push(1);
            put_number(out, retry_after_ms);
        }
        SubmitError::BatchSize => out.push(2),
        SubmitError::LinkedBatchSize => out.push(3),
        SubmitError::LinkedBatchIds(id) => {
            out.push(4);
            put_id(out, id.0);
        }
        SubmitError::OutOfBounds(what) => {
            out.push(5);
            put_text(out, what);
        }
        SubmitError::ReadOnly => out.push(7),
        SubmitError::NoWriter => out.push(8),
        // Refusals may be added: whatever they are, nothing was recorded and another writer may take it.
        SubmitError::Stopped | _ => out.push(6),
    }
}

fn read_refused(reader: &mut Reader<'_>) -> Result<SubmitError, CodecError> {
    Ok(match reader.byte("refusal")? {
        1 => SubmitError::Busy { retry_after_ms: reader.number("wait")? },
        2 => SubmitError::BatchSize,
        3 => SubmitError::LinkedBatchSize,
        4 => SubmitError::LinkedBatchIds(CommandId(reader.id("command")?)),
        5 => SubmitError::OutOfBounds(interned(&reader.text("bound")?)),
        6 => SubmitError::Stopped,
        7 => SubmitError::ReadOnly,
        8 => SubmitError::NoWriter,
        tag => return Err(CodecError::UnknownTag { what: "refusal", tag: tag.into() }),
    })
}

fn put_fault(out: &mut Vec<u8>, fault: &EngineFault) {
    match fault {
        EngineFault::ReadOnly => out.push(1),
        EngineFault::Refused(error) => {
            out.push(3);
            put_refused(out, *error);
        }
        EngineFault::Unreachable => out.push(4),
        // Faults may be added: whatever they are, what became of it is not known.
        EngineFault::Stopped | _ => out.push(2),
    }
}

fn read_fault(reader: &mut Reader<'_>) -> Result<EngineFault, CodecError> {
    Ok(match reader.byte("fault")? {
        1 => EngineFault::ReadOnly,
        2 => EngineFault::Stopped,
        3 => EngineFault::Refused(read_refused(reader)?),
        4 => EngineFault::Unreachable,
        tag => return Err(CodecError::UnknownTag { what: "fault", tag: tag.into() }),
    })
}

/// The content of a reply.
pub fn outcome(outcome: &Outcome) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    match outcome {
        Outcome::Answers(answers) => {
            out.push(1);
            put_length(&mut out, answers.len());
            for answer in answers {
                put_answer(&mut out, answer);
            }
        }
        Outcome::Previews(Previews { items, at_sequence, recorded_at }) => {
            out.push(2);
            put_number(&mut out, at_sequence.0);
            put_time(&mut out, *recorded_at);
            put_length(&mut out, items.len());
            for item in items {
                put_preview(&mut out, item);
            }
        }
        Outcome::Found(found) => {
            out.push(3);
            put_option(
                &mut out,
                found.as_deref(),
                |out, RecordedEvent { book, sequence, recorded_at, epoch, event }| {
                    put_number(out, book.get().into());
                    put_number(out, sequence.0);
                    put_time(out, *recorded_at);
                    put_number(out, epoch.0);
                    event.encode(out);
                },
            );
        }
        Outcome::Fault(fault) => {
            out.push(4);
            put_fault(&mut out, fault);
        }
    }
    out
}

/// Reads the content of a reply.
pub fn read_outcome(bytes: &[u8]) -> Result<Outcome, CodecError> {
    whole(bytes, |reader| {
        Ok(match reader.byte("outcome")? {
            1 => {
                let count = count(reader, "number of answers")?;
                Outcome::Answers((0..count).map(|_| read_answer(reader)).collect::<Result<_, _>>()?)
            }
            2 => {
                let (at_sequence, recorded_at) = (Sequence(reader.number("sequence")?), reader.time()?);
                let count = count(reader, "number of previews")?;
                let items = (0..count).map(|_| read_preview(reader)).collect::<Result<_, _>>()?;
                Outcome::Previews(Previews { items, at_sequence, recorded_at })
            }
            3 => Outcome::Found(reader.option("event", |reader| {
                Ok(Box::new(RecordedEvent {
                    book: BookId::new(reader.number("book")?).ok_or(CodecError::NotCanonical("book"))?,
                    sequence: Sequence(reader.number("sequence")?),
                    recorded_at: reader.time()?,
                    epoch: Epoch(reader.number("epoch")?),
                    event: Event::decode(reader)?,
                }))
            })?),
            4 => Outcome::Fault(read_fault(reader)?),
            tag => return Err(CodecError::UnknownTag { what: "outcome", tag: tag.into() }),
        })
    })
}

/// The most bytes of a reason that travel: a text of the canonical form holds no more.
const REASON_MAX_BYTES: usize = event_schemas::bounds::TEXT_MAX_BYTES;

/// The figures of an engine.
pub fn status(status: &EngineStatus) -> Vec<u8> {
    let EngineStatus {
        writer,
        reason,
        durable,
        queued,
        accepted_total,
        rejected_total,
        replayed_total,
        flushes_total,
        appended_bytes_total,
        checkpoint,
    } = status;
    let mut out = Vec::with_capacity(64);
    out.push(match writer {
        WriterState::Serving => 1,
        WriterState::ReadOnly => 2,
        WriterState::Stopped => 3,
    });
    let mut end = reason.len().min(REASON_MAX_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    put_text(&mut out, reason.get(..end).unwrap_or_default());
    for number in [
        durable.0,
        *queued,
        *accepted_total,
        *rejected_total,
        *replayed_total,
        *flushes_total,
        *appended_bytes_total,
        checkpoint.0,
    ] {
        put_number(&mut out, number);
    }
    out
}

/// Reads the figures of an engine.
pub fn read_status(bytes: &[u8]) -> Result<EngineStatus, CodecError> {
    whole(bytes, |reader| {
        let writer = match reader.byte("writer")? {
            1 => WriterState::Serving,
            2 => WriterState::ReadOnly,
            3 => WriterState::Stopped,
            tag => return Err(CodecError::UnknownTag { what: "writer", tag: tag.into() }),
        };
        let reason = reader.text("reason")?.into();
        let mut number = || reader.number::<u64>("figure");
        Ok(EngineStatus {
            writer,
            reason,
            durable: Sequence(number()?),
            queued: number()?,
            accepted_total: number()?,
            rejected_total: number()?,
            replayed_total: number()?,
            flushes_total: number()?,
            appended_bytes_total: number()?,
            checkpoint: Sequence(number()?),
        })
    })
}

#[cfg(test)]
mod tests;
