//! Signs of life: the writer says in a small topic of its own that it is there, and a standby waits until it says nothing more.
//!
//! Safety does not hang on this. Who is the writer is decided by claims among the blocks (`chain.rs`); signs of life only decide
//! when somebody else tries. Membership in a consumer group would do, too, but brokers let a silent member go after six seconds at
//! the earliest unless told otherwise, and move partitions to whoever joins. The topic keeps an hour of signs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Told, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_schemas::Epoch;
use serde::{Deserialize, Serialize};

use super::client::{Sender, Tail, Trouble};
use super::reader::patiently;
use super::record::Outgoing;
use super::{KafkaFault, KafkaOptions, writer_topic};
use crate::watch::LeaseWatch;

const WITHIN: Duration = Duration::from_secs(5);

/// How often a lease is renewed within its time to live.
const SIGNS_PER_TTL: u32 = 4;

/// A sign so much older than the lease is no sign, whatever the clocks of two machines may differ by.
const LONG_AGO: Duration = Duration::from_mins(2);

/// What a writer says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sign {
    epoch: Epoch,
    writer: String,
    holder: String,
    /// Milliseconds since 1970 by the writer's clock.
    at_ms: u64,
    /// It has ended: nobody needs to wait.
    ended: bool,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The newest sign below an offset.
fn newest(tail: &mut Tail, high: i64) -> Result<Option<Sign>, Trouble> {
    if high == 0 {
        return Ok(None);
    }
    let found = tail.value(high - 1, WITHIN)?;
    tail.rest();
    Ok(found.and_then(|(_, value)| serde_json::from_slice(&value).ok()))
}

/// Waits until nobody seems to write a book. Only silence while the cluster answers counts.
pub(super) fn wait_for_turn(options: &KafkaOptions) -> Result<(), KafkaFault> {
    let ttl = options.lease_ttl;
    let patience = ttl + ttl / SIGNS_PER_TTL;
    let mut tail = Tail::looking_up(&options.url, &writer_topic(&options.url, options.book));
    let until = Instant::now() + patience;
    let (mut heard, mut seen, mut told) = (Instant::now(), None, false);
    loop {
        let looked = tail.watermarks(WITHIN).and_then(|(low, high)| {
            let sign = if seen == Some(high) || low == high { None } else { newest(&mut tail, high)? };
            Ok((low == high, high, sign))
        });
        match looked {
            Ok((true, ..)) => return Ok(()),
            Ok((_, high, sign)) => {
                let first = seen.replace(high).is_none();
                match sign {
                    Some(sign) if sign.ended => return Ok(()),
                    Some(sign) => {
                        let silent = Duration::from_millis(now_ms().saturating_sub(sign.at_ms));
                        if first && silent > ttl + LONG_AGO {
                            return Ok(());
                        }
                        heard = Instant::now();
                        if !first && !options.standby && heard >= until {
                            let (holder, epoch) = (sign.holder, sign.epoch);
                            return Err(KafkaFault::Held { book: options.book, holder, epoch });
                        }
                        if options.standby && !told {
                            tracing::info!(holder = %sign.holder, epoch = sign.epoch.0, "standing by: the book has a writer");
                            told = true;
                        }
                    }
                    None if heard.elapsed() >= patience => return Ok(()),
                    None => {}
                }
            }
            // A standby outlives a cluster that is gone for a while; whoever starts does not.
            Err(Trouble::Lost(reason)) if options.standby => {
                tracing::warn!(%reason, "standing by: Kafka can't be reached");
                heard = Instant::now();
            }
            Err(trouble) => return Err(tail.fault(trouble)),
        }
        std::thread::sleep(ttl / (SIGNS_PER_TTL * 2));
    }
}

/// Says that a writer is there until it is dropped, and listens whether somebody else says so.
pub(super) struct Keeper {
    /// The writer's epoch, which rises with each claim.
    epoch: Arc<AtomicU64>,
    end: Option<Told<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(
        options: &KafkaOptions,
        epoch: Epoch,
        writer: &str,
        watch: LeaseWatch,
    ) -> Result<Self, KafkaFault> {
        let topic = writer_topic(&options.url, options.book);
        let every = options.lease_ttl / SIGNS_PER_TTL;
        let mut tail = Tail::listening(&options.url, &topic);
        let (_, at) = patiently(&mut tail, |tail| tail.watermarks(WITHIN))?;
        let sender = Sender::of_signs(&options.url, &topic, options.lease_ttl.max(Duration::from_secs(1)))?;
        let epoch = Arc::new(AtomicU64::new(epoch.0));
        let (end, ended) = channel();
        let (writer, holder) = (writer.to_owned(), options.holder.clone());
        let book = options.book.to_string();
        let keep = Keep { epoch: Arc::clone(&epoch), sender, tail, at, writer, holder, book, watch };
        // The first before anything is answered: whoever starts now shall hear it.
        if let Err(trouble) = keep.say(Epoch(epoch.load(Ordering::Acquire)), false) {
            tracing::warn!(?trouble, "a sign of life did not arrive");
        }
        let thread = std::thread::Builder::new().name("lease".into()).spawn(move || keep.run(every, &ended))?;
        Ok(Self { epoch, end: Some(end), thread: Some(thread) })
    }

    pub(super) fn raise(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A keeper that panicked has said nothing since; the next writer waits for a lease's time.
            let _ = thread.join();
        }
    }
}

struct Keep {
    epoch: Arc<AtomicU64>,
    sender: Sender,
    tail: Tail,
    at: i64,
    writer: String,
    holder: String,
    book: String,
    watch: LeaseWatch,
}

impl Keep {
    fn run(mut self, every: Duration, ended: &Receiver<()>) {
        loop {
            let end = !matches!(ended.recv_timeout(every), Err(RecvTimeoutError::Timeout));
            if self.watch.lost_to().is_some() {
                return;
            }
            let epoch = Epoch(self.epoch.load(Ordering::Acquire));
            if let Some(by) = self.overtaken(epoch) {
                self.watch.lose(by);
                tracing::error!(%epoch, newest = %by, "another writer has taken over this book");
                return;
            }
            if let Err(trouble) = self.say(epoch, end) {
                tracing::warn!(?trouble, "a sign of life did not arrive");
            }
            if end {
                return;
            }
        }
    }

    /// Whether another writer of a later epoch says that it is there.
    fn overtaken(&mut self, epoch: Epoch) -> Option<Epoch> {
        loop {
            match self.tail.value(self.at, Duration::ZERO) {
                Ok(Some((offset, value))) => {
                    self.at = offset + 1;
                    let other = serde_json::from_slice::<Sign>(&value).ok().filter(|sign| sign.writer != self.writer);
                    if let Some(other) = other.filter(|sign| sign.epoch > epoch) {
                        return Some(other.epoch);
                    }
                }
                // The topic forgets old signs.
                Err(Trouble::NoOffset) => self.at = self.tail.watermarks(WITHIN).ok()?.1,
                Ok(None) | Err(_) => return None,
            }
        }
    }

    fn say(&self, epoch: Epoch, ended: bool) -> Result<(), Trouble> {
        let (writer, holder) = (self.writer.clone(), self.holder.clone());
        let sign = Sign { epoch, writer, holder, at_ms: now_ms(), ended };
        let value = serde_json::to_vec(&sign).map_err(|error| Trouble::Lost(error.to_string()))?;
        let headers = vec![("kind", "sign".to_owned()), ("epoch", epoch.to_string())];
        self.sender.send(&self.book, &Outgoing { headers, value }).map(drop)
    }
}
