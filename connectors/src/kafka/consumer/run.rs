//! The consumer at work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::group::{Handled, Member};
use super::marks::Marks;
use super::{ConsumerOptions, ConsumerStatus, Handler};
use crate::kafka::client::ANSWERS_WITHIN;
use crate::kafka::dead_letters::{BEHIND, DeadLetters, Desk, Failure, Parked, now};
use crate::kafka::error::KafkaFault;
use crate::kafka::record::Received;
use crate::kafka::settings::KafkaSettings;

/// How long one poll lasts.
const POLL: Duration = Duration::from_millis(100);

/// How long handled events stay uncommitted at most while more keep coming.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// How often the dead letters are looked at for what operators ask.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long one turn of a retry lasts before the topic has its turn again; what is left of it comes with the next.
const RETRY_TURN: Duration = Duration::from_secs(30);

/// How long a handler may take for one attempt.
const HANDLER_MAX: Duration = Duration::from_mins(1);

/// The longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) struct Run<'a> {
    options: &'a ConsumerOptions,
    status: Arc<Mutex<ConsumerStatus>>,
    stop: &'a AtomicBool,
    consumer: BaseConsumer<Member>,
    member: Member,
    desk: Desk,
    letters: DeadLetters,
    /// Where in the dead letters of each partition it has come to.
    read_to: BTreeMap<i32, i64>,
    committed: Instant,
    looked: Instant,
}

/// What became of an event.
enum Outcome {
    Handled,
    Failed(Failure),
    /// It was told to stop before that was decided.
    Stopped,
}

impl<'a> Run<'a> {
    pub(super) fn open(
        settings: &KafkaSettings,
        options: &'a ConsumerOptions,
        status: Arc<Mutex<ConsumerStatus>>,
        stop: &'a AtomicBool,
    ) -> Result<Self, KafkaFault> {
        let desk = Desk::open(settings, &options.topic)?;
        let member = Member::new(&options.topic);
        // A member that does not ask for more within this time is taken for dead.
        let silent_max = (HANDLER_MAX + WAIT_MAX) * options.attempts + RETRY_TURN * 2;
        let mut config = settings.client();
        config
            .set("group.id", &options.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("max.poll.interval.ms", silent_max.as_millis().to_string())
            .set("session.timeout.ms", options.session.as_millis().to_string())
            .set("heartbeat.interval.ms", (options.session.as_millis() / 4).to_string())
            .set("queued.max.messages.kbytes", "16384");
        let consumer: BaseConsumer<Member> = config.create_with_context(member.clone())?;
        consumer.subscribe(&[&options.topic])?;
        let (letters, read_to, now) = (DeadLetters::default(), BTreeMap::new(), Instant::now());
        Ok(Self { options, status, stop, consumer, member, desk, letters, read_to, committed: now, looked: now })
    }

    fn update(&self, change: impl FnOnce(&mut ConsumerStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Reads until it is told to stop.
    pub(super) fn run(mut self, handler: &mut dyn Handler) -> Result<(), KafkaFault> {
        let ended = self.work(handler);
        let committed = self.member.commit(&self.consumer, CommitMode::Sync);
        self.consumer.unsubscribe();
        // Polled once more, so that the partitions are given up now and not when its silence is noticed.
        let _ = self.consumer.poll(POLL);
        ended.and(committed)
    }

    fn work(&mut self, handler: &mut dyn Handler) -> Result<(), KafkaFault> {
        while !self.stopping() {
            let event = match self.consumer.poll(POLL) {
                None => None,
                Some(Ok(record)) => Some(Received::of(&record)),
                Some(Err(error)) => {
                    passing(error)?;
                    None
                }
            };
            self.rebalanced()?;
            if let Some(event) = event {
                self.event(&event, handler)?;
            }
            if self.looked.elapsed() > LOOK_EVERY {
                self.look(handler)?;
                self.looked = Instant::now();
            }
            if self.committed.elapsed() > COMMIT_EVERY {
                self.member.commit(&self.consumer, CommitMode::Async)?;
                self.committed = Instant::now();
            }
        }
        Ok(())
    }

    /// Prepares partitions that came: how far they were handled, and what is parked of them.
    fn rebalanced(&mut self) -> Result<(), KafkaFault> {
        let (came, went) = {
            let mut shared = self.member.shared();
            (std::mem::take(&mut shared.came), std::mem::take(&mut shared.went))
        };
        if came.is_empty() && went.is_empty() {
            return Ok(());
        }
        for partition in went.iter().filter(|partition| !self.member.shared().handled.contains_key(partition)) {
            self.letters.forget(*partition);
            self.read_to.remove(partition);
        }
        if !came.is_empty() {
            let mut asked = TopicPartitionList::new();
            for partition in &came {
                asked.add_partition(&self.options.topic, *partition);
            }
            let found = self.consumer.committed_offsets(asked, ANSWERS_WITHIN)?;
            for element in found.elements() {
                let marks = Marks::of_text(element.metadata());
                let handled = Handled { next: element.offset().to_raw().unwrap_or(0), marks, more: false };
                self.member.shared().handled.insert(element.partition(), handled);
            }
            for partition in came {
                self.letters.forget(partition);
                self.read_to.remove(&partition);
                self.refresh(partition)?;
            }
        }
        self.tell();
        Ok(())
    }

    /// Reads what is new in the dead letters of a partition.
    fn refresh(&mut self, partition: i32) -> Result<(), KafkaFault> {
        let from = self.read_to.get(&partition).copied().unwrap_or(0);
        let to = self.desk.read_on(partition, from, &mut self.letters)?;
        self.read_to.insert(partition, to);
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        let keys = self.letters.parked().filter(|parked| parked.group == self.options.group).count() as u64;
        let partitions = self.read_to.len() as u64;
        self.update(|status| (status.parked_keys, status.partitions) = (keys, partitions));
    }

    /// One event of the topic.
    fn event(&mut self, event: &Received, handler: &mut dyn Handler) -> Result<(), KafkaFault> {
        let had = match self.member.shared().handled.get(&event.partition) {
            // The partition went while the event was on its way: its new owner has it.
            None => return Ok(()),
            Some(handled) => handled.marks.had(event),
        };
        if had {
            self.update(|status| status.duplicates_total += 1);
        } else {
            let key = event.key_text();
            let first = self
                .letters
                .of(&self.options.group, &key, event.partition)
                .and_then(|parked| parked.letters.first().map(|letter| letter.id.clone()));
            let failure = match first {
                Some(before) => Some(Failure {
                    class: BEHIND.to_owned(),
                    error: format!("event {before} of this key is parked"),
                    attempts: 0,
                    first: now(),
                }),
                None => match self.attempt(event, handler) {
                    Outcome::Handled => None,
                    Outcome::Stopped => return Ok(()),
                    Outcome::Failed(failure) => {
                        let Failure { class, error, attempts, .. } = &failure;
                        let (group, id) = (&self.options.group, event.id().unwrap_or_default());
                        tracing::error!(
                            %group, topic = %event.topic, %key, %id, %class, attempts,
                            "ALARM: a key is parked, it and its later events are in {}: {error}", self.desk.topic()
                        );
                        Some(failure)
                    }
                },
            };
            if let Some(failure) = failure {
                let offset = self.desk.park(event, &self.options.group, &failure)?;
                // The next look reads it again, and what others have written before it.
                let letter = Received { offset, ..event.clone() };
                self.letters.put(&letter, &self.options.group, failure)?;
                self.tell();
                self.update(|status| status.parked_total += 1);
            }
        }
        if let Some(handled) = self.member.shared().handled.get_mut(&event.partition) {
            handled.marks.set(event);
            (handled.next, handled.more) = (event.offset + 1, true);
        }
        Ok(())
    }

    /// Hands an event to the handler, more than once if need be.
    fn attempt(&self, event: &Received, handler: &mut dyn Handler) -> Outcome {
        let mut wait = self.options.first_wait;
        let mut first = None;
        for attempts in 1.. {
            if self.stopping() {
                return Outcome::Stopped;
            }
            let Err(fault) = handler.handle(event) else { break };
            self.update(|status| status.failures_total += 1);
            let first = *first.get_or_insert_with(now);
            if attempts >= self.options.attempts {
                return Outcome::Failed(Failure { class: fault.class, error: fault.error, attempts, first });
            }
            tracing::warn!(?event, attempts, "an event could not be handled, and is tried again: {fault}");
            let until = Instant::now() + wait;
            while !self.stopping() && Instant::now() < until {
                std::thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
        self.update(|status| status.handled_total += 1);
        Outcome::Handled
    }

    /// Looks at the dead letters, and does what operators ask for.
    fn look(&mut self, handler: &mut dyn Handler) -> Result<(), KafkaFault> {
        let partitions: Vec<_> = self.read_to.keys().copied().collect();
        for partition in partitions {
            self.refresh(partition)?;
            let of_ours = |parked: &&Parked| {
                parked.retry_asked && parked.group == self.options.group && parked.partition == partition
            };
            let asked: Vec<Parked> = self.letters.parked().filter(of_ours).cloned().collect();
            for parked in asked {
                self.retry(&parked, handler)?;
                self.refresh(partition)?;
            }
        }
        Ok(())
    }

    /// Handles the events of a key again, in order, up to the first that fails again.
    fn retry(&self, parked: &Parked, handler: &mut dyn Handler) -> Result<(), KafkaFault> {
        let mut events = Vec::new().into_iter();
        let began = Instant::now();
        for (at, letter) in parked.letters.iter().enumerate() {
            if began.elapsed() > RETRY_TURN {
                return Ok(());
            }
            if events.len() == 0 {
                let left = parked.letters.get(at..).unwrap_or_default();
                events = self.desk.events(parked.partition, left)?.into_iter();
            }
            let Some(event) = events.next() else { break };
            match self.attempt(&event, handler) {
                Outcome::Handled => self.desk.handled(parked, &letter.id)?,
                Outcome::Stopped => return Ok(()),
                Outcome::Failed(failure) => {
                    let attempts = letter.failure.attempts.saturating_add(failure.attempts);
                    let first = if letter.failure.class == BEHIND { failure.first } else { letter.failure.first };
                    let failure = Failure { attempts, first, ..failure };
                    let (key, class, error) = (&parked.key, &failure.class, &failure.error);
                    tracing::error!(%key, id = %letter.id, %class, "ALARM: a retry failed, the key stays parked: {error}");
                    return self.desk.failed(parked, &letter.id, &failure);
                }
            }
        }
        tracing::info!(key = %parked.key, "a parked key is free again");
        Ok(())
    }
}

/// Errors that pass by themselves, since the client goes on when brokers are back.
fn passing(error: KafkaError) -> Result<(), KafkaFault> {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    match error.rdkafka_error_code() {
        Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut) => Ok(()),
        _ => Err(error.into()),
    }
}
