//! The process manager: it carries workflows on, one step after the other, until nothing is left to be done.
//!
//! ```text
//! wake(subject) ─▶ queue ─▶ step: look at the facts, do what is due, record what came of it ─▶ again │ at rest │ later
//!                    ▲                                                                        │
//!                    └──────────── after a while, longer each time ◀── failed ────────────────┤
//!                                                    parked, with an alarm ◀── too often ─────┘
//! ```
//!
//! *What it knows is not stored.* The facts of a subject say how far it is, so they are its checkpoint: after a crash whoever
//! starts the runner wakes every subject that is not at rest, and each goes on where its facts end. An effect whose outcome was
//! not recorded is done again under the same identity, which the book and the providers answer with the first outcome.
//!
//! *Order.* One step of a subject at a time; steps of different subjects run side by side, a bounded number of them.
//!
//! *Nothing is skipped silently.* A step that fails is tried again, later each time and never in lockstep with others; when it
//! has failed as often as it may, or when trying again can't help, the subject is parked: on record, in the log as an alarm, and
//! in the list that operators look at. A step that panics has failed.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

/// What is to be done after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next step, at once.
    Again,
    /// Nothing, until somebody wakes it.
    Rest,
    /// The next step, after a while. Nothing has failed.
    Later(Duration),
}

/// Why a step could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct StepFault {
    /// A stable code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
    /// Whether trying again can't help.
    pub is_final: bool,
}

impl StepFault {
    /// A fault that may pass.
    pub fn passing(code: &'static str, detail: impl Display) -> Self {
        Self { code, detail: detail.to_string(), is_final: false }
    }

    /// A fault that somebody has to look at.
    pub fn lasting(code: &'static str, detail: impl Display) -> Self {
        Self { code, detail: detail.to_string(), is_final: true }
    }
}

/// A kind of workflow.
pub trait Workflow: Send + Sync + 'static {
    /// What one of them is about, such as a payment's id.
    type Subject: Copy + Eq + Hash + Display + Send + Sync + 'static;

    /// Does what is due of a subject and records what came of it. It must be possible to do it twice with one effect.
    fn step(&self, subject: Self::Subject) -> impl Future<Output = Result<Next, StepFault>> + Send;

    /// Records that a subject goes no further by itself.
    fn park(
        &self,
        subject: Self::Subject,
        attempts: u32,
        fault: &StepFault,
    ) -> impl Future<Output = Result<(), StepFault>> + Send;
}

/// How a runner works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerOptions {
    /// How many subjects have a step under way at a time.
    pub concurrency: usize,
    /// How often a step may fail before its subject is parked.
    pub attempts: u32,
    /// How long to wait after the first failure; twice as long after each further one.
    pub backoff: Duration,
    /// The longest to wait between two tries.
    pub backoff_max: Duration,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self { concurrency: 512, attempts: 8, backoff: Duration::from_millis(250), backoff_max: Duration::from_mins(2) }
    }
}

/// Where subjects are that are not at rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunnerStatus {
    /// Waiting for their turn.
    pub queued: usize,
    /// With a step under way.
    pub running: usize,
    /// Waiting for their time.
    pub sleeping: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Queued,
    /// A step is under way; whether somebody has woken it meanwhile.
    Running {
        woken: bool,
    },
    /// Until this nap ends.
    Sleeping {
        nap: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    place: Place,
    failures: u32,
}

struct State<S> {
    slots: HashMap<S, Slot>,
    queue: VecDeque<S>,
    naps: u64,
    stopping: bool,
}

struct Inner<W: Workflow> {
    workflow: W,
    options: RunnerOptions,
    state: Mutex<State<W::Subject>>,
    more: Notify,
    idle: Notify,
    jitter: RandomState,
}

/// A runner of one kind of workflow. Clones share it.
pub struct Runner<W: Workflow>(Arc<Inner<W>>);

impl<W: Workflow> Clone for Runner<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Workflow> std::fmt::Debug for Runner<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Runner").field(&self.status()).finish()
    }
}

impl<W: Workflow> Runner<W> {
    /// Starts a runner on the current runtime. It does nothing until somebody wakes a subject.
    pub fn start(workflow: W, options: RunnerOptions) -> Self {
        let state = State { slots: HashMap::new(), queue: VecDeque::new(), naps: 0, stopping: false };
        let runner = Self(Arc::new(Inner {
            workflow,
            options,
            state: Mutex::new(state),
            more: Notify::new(),
            idle: Notify::new(),
            jitter: RandomState::new(),
        }));
        tokio::spawn(runner.clone().dispatch());
        runner
    }

    /// The workflow.
    pub fn workflow(&self) -> &W {
        &self.0.workflow
    }

    fn state(&self) -> MutexGuard<'_, State<W::Subject>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a subject looked at: at once, or when the step under way is done.
    pub fn wake(&self, subject: W::Subject) {
        let mut state = self.state();
        match state.slots.get_mut(&subject) {
            Some(Slot { place: Place::Queued, .. }) => return,
            Some(Slot { place: Place::Running { woken }, .. }) => {
                *woken = true;
                return;
            }
            Some(slot) => slot.place = Place::Queued,
            None => {
                state.slots.insert(subject, Slot { place: Place::Queued, failures: 0 });
            }
        }
        state.queue.push_back(subject);
        drop(state);
        self.0.more.notify_one();
    }

    /// Where subjects are.
    pub fn status(&self) -> RunnerStatus {
        let state = self.state();
        let mut status = RunnerStatus { queued: state.queue.len(), ..RunnerStatus::default() };
        for slot in state.slots.values() {
            match slot.place {
                Place::Queued => {}
                Place::Running { .. } => status.running += 1,
                Place::Sleeping { .. } => status.sleeping += 1,
            }
        }
        status
    }

    /// Begins nothing more, and waits for the steps under way.
    pub async fn stop(&self) {
        self.state().stopping = true;
        self.0.more.notify_one();
        loop {
            let idle = self.0.idle.notified();
            if self.status().running == 0 {
                return;
            }
            idle.await;
        }
    }

    async fn dispatch(self) {
        let permits = Arc::new(Semaphore::new(self.0.options.concurrency));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let subject = loop {
                let more = self.0.more.notified();
                {
                    let mut state = self.state();
                    if state.stopping {
                        return;
                    }
                    if let Some(subject) = state.queue.pop_front() {
                        if let Some(slot) = state.slots.get_mut(&subject) {
                            slot.place = Place::Running { woken: false };
                        }
                        break subject;
                    }
                }
                more.await;
            };
            let runner = self.clone();
            tokio::spawn(async move {
                runner.carry_on(subject).await;
                drop(permit);
                runner.0.idle.notify_waiters();
            });
        }
    }

    /// Steps of one subject, until it rests or has to wait.
    async fn carry_on(&self, subject: W::Subject) {
        loop {
            let runner = self.clone();
            let step = tokio::spawn(async move { runner.0.workflow.step(subject).await });
            let done = step.await.unwrap_or_else(|error| Err(StepFault::passing("step_panicked", error)));
            let nap = match done {
                Ok(next) => {
                    let mut state = self.state();
                    let stopping = state.stopping;
                    let Some(slot) = state.slots.get_mut(&subject) else { return };
                    let woken = std::mem::replace(&mut slot.place, Place::Running { woken: false })
                        == Place::Running { woken: true };
                    match next {
                        Next::Again => slot.failures = 0,
                        Next::Rest | Next::Later(_) if woken => {}
                        Next::Rest => {
                            state.slots.remove(&subject);
                            return;
                        }
                        Next::Later(_) => {}
                    }
                    if stopping {
                        state.slots.remove(&subject);
                        return;
                    }
                    match next {
                        Next::Later(nap) if !woken => nap,
                        Next::Again | Next::Rest | Next::Later(_) => continue,
                    }
                }
                Err(fault) => {
                    let failures = {
                        let mut state = self.state();
                        let Some(slot) = state.slots.get_mut(&subject) else { return };
                        slot.failures = slot.failures.saturating_add(1);
                        slot.failures
                    };
                    if fault.is_final || failures >= self.0.options.attempts {
                        match self.0.workflow.park(subject, failures, &fault).await {
                            Ok(()) => {
                                tracing::error!(%subject, attempts = failures, %fault, "ALARM: parked, somebody has to look");
                                if let Some(slot) = self.state().slots.get_mut(&subject) {
                                    slot.failures = 0;
                                }
                                // Once more: it finds that nothing is due, or that somebody has let it go on already.
                                continue;
                            }
                            Err(parking) => {
                                tracing::error!(%subject, %fault, %parking, "can't be parked now: it is tried again");
                            }
                        }
                    } else {
                        tracing::warn!(%subject, attempt = failures, %fault, "a step failed: it is tried again");
                    }
                    self.backoff(subject, failures)
                }
            };
            self.sleep(subject, nap);
            return;
        }
    }

    /// How long to wait after so many failures: between half and all of what is due, so that many subjects spread.
    fn backoff(&self, subject: W::Subject, failures: u32) -> Duration {
        let RunnerOptions { backoff, backoff_max, .. } = self.0.options;
        let whole = backoff.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(backoff_max);
        let share = self.0.jitter.hash_one((subject, failures)) % 512;
        whole / 2 + whole.mul_f64(f64::from(u32::try_from(share).unwrap_or(0)) / 1_024.0)
    }

    fn sleep(&self, subject: W::Subject, nap: Duration) {
        let mut state = self.state();
        state.naps += 1;
        let number = state.naps;
        let stopping = state.stopping;
        if stopping {
            state.slots.remove(&subject);
            return;
        }
        if let Some(slot) = state.slots.get_mut(&subject) {
            slot.place = Place::Sleeping { nap: number };
        }
        drop(state);
        let runner = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(nap).await;
            let is_due =
                runner.state().slots.get(&subject).is_some_and(|slot| slot.place == Place::Sleeping { nap: number });
            if is_due {
                runner.wake(subject);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counted {
        steps: Mutex<Vec<u32>>,
        at_once: AtomicU32,
        most: AtomicU32,
        parked: Mutex<Vec<(u32, u32, &'static str)>>,
        fails: AtomicU32,
    }

    struct Script(Arc<Counted>);

    impl Workflow for Script {
        type Subject = u32;

        async fn step(&self, subject: u32) -> Result<Next, StepFault> {
            let now = self.0.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.0.at_once.fetch_sub(1, Ordering::SeqCst);
            let done = {
                let mut steps = self.0.steps.lock().unwrap();
                steps.push(subject);
                steps.iter().filter(|known| **known == subject).count()
            };
            match subject {
                900 => Err(StepFault::passing("down", "not now")),
                901 if self.0.parked.lock().unwrap().is_empty() => Err(StepFault::lasting("odd", "look")),
                902 if done == 1 => panic!("a bug"),
                903 if done < 3 => Ok(Next::Later(Duration::from_millis(1))),
                _ if subject >= 900 => Ok(Next::Rest),
                _ if done < 3 => Ok(Next::Again),
                _ => Ok(Next::Rest),
            }
        }

        async fn park(&self, subject: u32, attempts: u32, fault: &StepFault) -> Result<(), StepFault> {
            self.0.parked.lock().unwrap().push((subject, attempts, fault.code));
            if self.0.fails.fetch_add(1, Ordering::SeqCst) == 0 {
                return Ok(());
            }
            std::future::pending().await
        }
    }

    fn runner(concurrency: usize) -> (Arc<Counted>, Runner<Script>) {
        let counted = Arc::new(Counted::default());
        let options = RunnerOptions {
            concurrency,
            attempts: 3,
            backoff: Duration::from_millis(1),
            backoff_max: Duration::from_millis(4),
        };
        (Arc::clone(&counted), Runner::start(Script(counted), options))
    }

    async fn until(what: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it never came to this");
    }

    #[tokio::test]
    async fn every_subject_gets_its_steps_and_no_more_run_at_once_than_may() {
        let (counted, runner) = runner(4);
        for subject in 0..50 {
            runner.wake(subject);
            runner.wake(subject);
        }
        until(|| runner.status() == RunnerStatus::default()).await;
        let steps = counted.steps.lock().unwrap().clone();
        assert!((0..50).all(|subject| steps.iter().filter(|known| **known == subject).count() >= 3));
        assert_eq!(counted.most.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn what_fails_too_often_is_parked_and_what_cannot_succeed_at_once() {
        let (counted, runner) = runner(4);
        runner.wake(900);
        until(|| !counted.parked.lock().unwrap().is_empty()).await;
        assert_eq!(counted.parked.lock().unwrap()[0], (900, 3, "down"));
        let (counted, runner) = self::runner(4);
        runner.wake(901);
        until(|| runner.status() == RunnerStatus::default()).await;
        assert_eq!(*counted.parked.lock().unwrap(), [(901, 1, "odd")]);
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_and_later_is_none() {
        let (counted, runner) = runner(4);
        runner.wake(902);
        runner.wake(903);
        until(|| runner.status() == RunnerStatus::default()).await;
        let steps = counted.steps.lock().unwrap().clone();
        assert_eq!(steps.iter().filter(|known| **known == 902).count(), 2);
        assert_eq!(steps.iter().filter(|known| **known == 903).count(), 3);
        assert!(counted.parked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn stopping_waits_for_what_is_under_way() {
        let (counted, runner) = runner(4);
        for subject in 0..50 {
            runner.wake(subject);
        }
        until(|| runner.status().running > 0).await;
        runner.stop().await;
        assert_eq!(counted.at_once.load(Ordering::SeqCst), 0);
    }
}
