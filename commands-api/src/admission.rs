//! Admission: what keeps anybody from filling the journal (law 4), and the one way from here to the engine.
//!
//! A refused command is an event for ever, so each principal has a budget of refusals: a burst, and a rate at which it
//! comes back. A command is let in while there is budget; a verdict newly recorded as a rejection takes one from it, on the
//! writer's thread, so hanging up before the answer saves nothing. What is in flight may overdraw the budget; the overdraft
//! is paid back before the next command is let in, so that over time no principal records more refusals than its rate.
//!
//! A dry run that expects a refusal costs as much as the refusal would: budgets also keep anybody from finding out by trying
//! what others have.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use event_schemas::{Command, CommandId, PrincipalId, RecordedEvent};
use ledger_core::ports::{Answer, CommandSink, EngineFault, Preview, Previews, SubmitError, Verdict};
use tokio::sync::oneshot;

use crate::problem::{Code, Problem};

/// How many refused commands a principal may put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// How many at once.
    pub rejections_burst: u32,
    /// How many come back per second; zero for none.
    pub rejections_per_second: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { rejections_burst: 1_000, rejections_per_second: 50 }
    }
}

/// One principal's budget, without a lock: the time at which it will be whole again, in microseconds.
#[derive(Debug, Default)]
struct Budget(AtomicU64);

/// The budgets of all principals.
#[derive(Debug)]
pub(crate) struct Admission {
    started: Instant,
    /// What one refusal costs, in microseconds of waiting.
    cost_us: u64,
    /// How far ahead of now a budget may lie before it is spent.
    depth_us: u64,
    // One for each holder of a key that was ever refused something: bounded by the key file.
    budgets: RwLock<HashMap<PrincipalId, Arc<Budget>>>,
}

impl Admission {
    pub(crate) fn new(budgets: Budgets) -> Self {
        let cost_us = match budgets.rejections_per_second {
            // A century: nothing comes back, and no sum overflows.
            0 => 3_000_000_000_000_000 / u64::from(budgets.rejections_burst.max(1)),
            rate => 1_000_000_u64.div_ceil(u64::from(rate)),
        };
        Self {
            started: Instant::now(),
            cost_us,
            depth_us: cost_us.saturating_mul(u64::from(budgets.rejections_burst)),
            budgets: RwLock::default(),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Lets a principal in, or says in how many seconds it may come again.
    fn check(&self, principal: PrincipalId, now_us: u64) -> Result<(), u64> {
        let budgets = self.budgets.read().unwrap_or_else(PoisonError::into_inner);
        let whole_at_us = budgets.get(&principal).map_or(0, |budget| budget.0.load(Ordering::Relaxed));
        drop(budgets);
        // The next refusal must fit.
        let over_us = whole_at_us.saturating_sub(now_us).saturating_add(self.cost_us).saturating_sub(self.depth_us);
        if over_us == 0 { Ok(()) } else { Err(over_us.div_ceil(1_000_000)) }
    }

    /// Lets a principal in, or says so.
    pub(crate) fn let_in(&self, principal: PrincipalId) -> Result<(), Problem> {
        self.check(principal, self.now_us())
            .map_err(|seconds| Problem::new(Code::RejectionBudgetSpent).with_retry_after(seconds))
    }

    /// Takes one refusal from a principal's budget now.
    pub(crate) fn charged(&self, principal: PrincipalId) {
        self.charge(principal, self.now_us());
    }

    /// Takes one refusal from a principal's budget.
    fn charge(&self, principal: PrincipalId, now_us: u64) {
        let found = self.budgets.read().unwrap_or_else(PoisonError::into_inner).get(&principal).cloned();
        let budget = found.unwrap_or_else(|| {
            let mut budgets = self.budgets.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(budgets.entry(principal).or_default())
        });
        let cost_us = self.cost_us;
        let raise = |whole_at_us: u64| Some(whole_at_us.max(now_us).saturating_add(cost_us));
        // Always `Ok`: `raise` never declines.
        let _ = budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise);
    }
}

/// Gives one command to the engine and waits for its recorded answer.
pub(crate) async fn submit(
    admission: &Arc<Admission>,
    sink: &dyn CommandSink,
    command: Command,
    timeout: Duration,
) -> Result<Answer, Problem> {
    let actor = command.actor;
    let mut answers = submit_all(admission, sink, actor, vec![command], false, timeout).await?;
    answers.pop().ok_or_else(|| Problem::new(Code::Internal))
}

/// Gives the commands of one principal to the engine, in one submission, and waits for an answer to each. Of those that are
/// linked either all take place or none.
pub(crate) async fn submit_all(
    admission: &Arc<Admission>,
    sink: &dyn CommandSink,
    actor: PrincipalId,
    commands: Vec<Command>,
    linked: bool,
    timeout: Duration,
) -> Result<Vec<Answer>, Problem> {
    let count = commands.len();
    admission.let_in(actor)?;
    let (sender, receiver) = oneshot::channel();
    let charged = Arc::clone(admission);
    let reply = move |answers: Result<Vec<Answer>, EngineFault>| {
        for answer in answers.iter().flatten() {
            if matches!(answer, Answer::Recorded { verdict: Verdict::Rejected(_), replayed: false, .. }) {
                charged.charge(actor, charged.now_us());
            }
        }
        // Nobody waits any more if the client hung up: the verdicts are on record.
        let _ = sender.send(answers);
    };
    let taken = if linked {
        sink.try_submit_linked(commands, Box::new(reply))
    } else {
        sink.try_submit(commands, Box::new(reply))
    };
    taken.map_err(refused)?;
    let answers = received(receiver, timeout).await?;
    each_answered(count, answers.len())?;
    Ok(answers)
}

/// Asks the engine what the commands of one principal would get.
pub(crate) async fn preview(
    admission: &Arc<Admission>,
    sink: &dyn CommandSink,
    actor: PrincipalId,
    commands: Vec<Command>,
    linked: bool,
    timeout: Duration,
) -> Result<Previews, Problem> {
    let count = commands.len();
    admission.let_in(actor)?;
    let (sender, receiver) = oneshot::channel();
    let charged = Arc::clone(admission);
    let reply = move |previews: Result<Previews, EngineFault>| {
        for item in previews.iter().flat_map(|previews| &previews.items) {
            if matches!(item, Preview::Expected { verdict: Verdict::Rejected(_), .. }) {
                charged.charge(actor, charged.now_us());
            }
        }
        let _ = sender.send(previews);
    };
    let taken = if linked {
        sink.try_preview(commands, Box::new(reply))
    } else {
        sink.try_preview_each(commands, Box::new(reply))
    };
    taken.map_err(refused)?;
    let previews = received(receiver, timeout).await?;
    each_answered(count, previews.items.len())?;
    Ok(previews)
}

fn each_answered(count: usize, answers: usize) -> Result<(), Problem> {
    if answers == count {
        return Ok(());
    }
    tracing::error!(count, answers, "the engine did not answer each command of a submission");
    Err(Problem::new(Code::Internal))
}

/// Asks the engine for the recorded verdict of a command.
pub(crate) async fn lookup(
    sink: &dyn CommandSink,
    id: CommandId,
    timeout: Duration,
) -> Result<Option<RecordedEvent>, Problem> {
    let (sender, receiver) = oneshot::channel();
    let reply = move |found| {
        let _ = sender.send(found);
    };
    sink.try_lookup(id, Box::new(reply)).map_err(refused)?;
    received(receiver, timeout).await
}

async fn received<T>(receiver: oneshot::Receiver<Result<T, EngineFault>>, timeout: Duration) -> Result<T, Problem> {
    match tokio::time::timeout(timeout, receiver).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(EngineFault::ReadOnly))) => Err(Problem::new(Code::JournalFull)),
        Ok(Ok(Err(EngineFault::Refused(error)))) => Err(refused(error)),
        Ok(Ok(Err(EngineFault::Unreachable))) => Err(Problem::new(Code::OutcomeUnknown).with_retry_after(2)),
        // Faults may be added; whatever they are, there is no verdict. A reply that was dropped is a writer that went down.
        Ok(Ok(Err(_)) | Err(_)) => Err(Problem::new(Code::WriterStopped).with_retry_after(5)),
        Err(_) => Err(Problem::new(Code::VerdictLate)),
    }
}

fn refused(error: SubmitError) -> Problem {
    match error {
        SubmitError::Busy { retry_after_ms } => {
            Problem::new(Code::EngineBusy).with_retry_after(retry_after_ms.div_ceil(1_000))
        }
        SubmitError::Stopped => Problem::new(Code::WriterStopped).with_retry_after(5),
        SubmitError::ReadOnly => Problem::new(Code::ReadOnly),
        SubmitError::NoWriter => Problem::new(Code::NoWriter).with_retry_after(1),
        // Of few items that are large; a single command always fits.
        SubmitError::BatchSize => Problem::detailed(Code::BatchOutOfBounds, "send it in two batches"),
        SubmitError::LinkedBatchSize => Problem::detailed(
            Code::BatchOutOfBounds,
            "what is linked, or asked for in a dry run, must fit into one block of the journal: send fewer items",
        ),
        // The API looks for it itself, to name the items.
        SubmitError::LinkedBatchIds(_) => Problem::new(Code::CommandIdRepeated),
        // What the API lets through by shape is within bounds; and refusals may be added.
        SubmitError::OutOfBounds(_) | _ => {
            tracing::error!(%error, "the engine did not take a submission");
            Problem::new(Code::Internal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: PrincipalId = PrincipalId(1);
    const BORIS: PrincipalId = PrincipalId(2);

    fn admission(rejections_burst: u32, rejections_per_second: u32) -> Admission {
        Admission::new(Budgets { rejections_burst, rejections_per_second })
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let admission = admission(3, 2);
        let mut now_us = 10_000_000;
        for _ in 0..3 {
            assert_eq!(admission.check(ANNA, now_us), Ok(()));
            admission.charge(ANNA, now_us);
        }
        assert_eq!(admission.check(ANNA, now_us), Err(1));
        assert_eq!(admission.check(BORIS, now_us), Ok(()), "each has a budget of its own");
        now_us += 500_000;
        assert_eq!(admission.check(ANNA, now_us), Ok(()), "half a second brings one back");
        admission.charge(ANNA, now_us);
        assert_eq!(admission.check(ANNA, now_us), Err(1));
        now_us += 3_600_000_000;
        for _ in 0..3 {
            assert_eq!(admission.check(ANNA, now_us), Ok(()), "and a long time no more than the burst");
            admission.charge(ANNA, now_us);
        }
        assert_eq!(admission.check(ANNA, now_us), Err(1));
    }

    #[test]
    fn what_was_in_flight_is_paid_back() {
        let admission = admission(1, 1);
        for _ in 0..11 {
            admission.charge(ANNA, 0);
        }
        assert_eq!(admission.check(ANNA, 0), Err(11));
        assert_eq!(admission.check(ANNA, 10_999_999), Err(1));
        assert_eq!(admission.check(ANNA, 11_000_000), Ok(()));
    }

    #[test]
    fn edges() {
        assert!(admission(0, 50).check(ANNA, 0).is_err(), "no burst, no command");
        let none_back = admission(2, 0);
        none_back.charge(ANNA, 0);
        assert_eq!(none_back.check(ANNA, 1), Ok(()));
        none_back.charge(ANNA, 1);
        assert!(none_back.check(ANNA, 3_600_000_000).is_err());
    }
}
