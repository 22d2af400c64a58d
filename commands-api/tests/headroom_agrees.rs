//! Headroom as the read model shows it is what the rules let through, to the unit: after every step, a dry run of just that much
//! is accepted and one of a unit more is refused. Steps are at random, over midnights, months, a calendar that moves the days,
//! holds that are captured, voided and expire, and limits that change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use common::{ADMIN, House, NOON};
use event_schemas::command::{AccountKind, BalancePolicy, CaptureHold, OpenAccount, PlaceHold, PostTransfer, VoidHold};
use event_schemas::limits::{Caps, PublishCalendar, SetLimits};
use event_schemas::{AccountId, Command, CommandBody, CommandId, Currency, Money, PrincipalId, Rejection, Timestamp};
use ledger_core::ports::{Answer, CommandSink as _, Preview, Verdict};

const HOUR_US: i64 = 3_600_000_000;
const STEPS: u128 = 400;

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn euro() -> Currency {
    "EUR".parse().unwrap()
}

struct Story {
    house: House,
    now_us: Arc<AtomicI64>,
    commands: u128,
    version: u64,
}

impl Story {
    fn command(&mut self, body: CommandBody) -> Command {
        self.commands += 1;
        Command { id: CommandId(self.commands), actor: PrincipalId(7), body }
    }

    fn give(&mut self, body: CommandBody) -> (CommandId, Verdict) {
        let command = self.command(body);
        let (id, (sender, receiver)) = (command.id, channel());
        let reply = Box::new(move |answers| sender.send(answers).unwrap());
        self.house.engine.try_submit(vec![command], reply).unwrap();
        let answers = receiver.recv().unwrap().unwrap();
        let Answer::Recorded { verdict, .. } = &answers[0] else { panic!("{answers:?}") };
        (id, verdict.clone())
    }

    fn must(&mut self, body: CommandBody) -> CommandId {
        let (id, verdict) = self.give(body);
        assert_eq!(verdict, Verdict::Accepted);
        id
    }

    /// The rejection that a transfer of so much would get; `None` if it would be accepted.
    fn refusal_of(&mut self, minor: i128) -> Option<Rejection> {
        let command = self.command(pay(minor));
        let (sender, receiver) = channel();
        let reply = Box::new(move |previews| sender.send(previews).unwrap());
        self.house.engine.try_preview(vec![command], reply).unwrap();
        let previews = receiver.recv().unwrap().unwrap();
        match previews.items.into_iter().next().unwrap() {
            Preview::Expected { verdict: Verdict::Accepted, .. } => None,
            Preview::Expected { verdict: Verdict::Rejected(rejection), .. } => Some(rejection),
            other => panic!("{other:?}"),
        }
    }

    fn calendar(&mut self, hours: i64) {
        let first = Timestamp(NOON.0 - NOON.0.rem_euclid(24 * HOUR_US));
        let starts = (0..=200).map(|day| Timestamp(first.0 + (24 * day + hours) * HOUR_US)).collect();
        self.version += 1;
        let (zone, tz_version) = ("Etc/Test".into(), "".into());
        let calendar = PublishCalendar { version: self.version, zone, tz_version, first_day: first.date_utc(), starts };
        self.must(CommandBody::PublishCalendar(calendar));
    }

    fn limit(&mut self, caps: Caps) {
        self.version += 1;
        let set = SetLimits { owner: "client:anna".into(), currency: euro(), version: self.version, caps };
        self.must(CommandBody::SetLimits(set));
    }

    /// What the read model says is left at once, if anything is limited.
    async fn left(&mut self) -> Option<i128> {
        self.house.catch_up();
        let now = Timestamp(self.now_us.load(Ordering::SeqCst));
        let path = format!("customers/client:anna/limits?at_time={now}");
        let found = self.house.get(ADMIN, &path).await.expect(200, "").body.clone();
        let left = found["limits"][0]["left"].as_str()?;
        Some(Money::parse(left, euro()).unwrap().amount_minor)
    }
}

fn pay(minor: i128) -> CommandBody {
    CommandBody::PostTransfer(PostTransfer {
        from: AccountId(1),
        to: AccountId(2),
        amount: Money::new(minor, euro()),
        fee_minor: Some(0),
        effective_on: None,
        reference: "".into(),
    })
}

fn open(account: u128, owner: &str) -> CommandBody {
    CommandBody::OpenAccount(OpenAccount {
        account: AccountId(account),
        code: "".into(),
        kind: AccountKind::Liability,
        currency: euro(),
        owner: owner.into(),
        policy: BalancePolicy::Unlimited,
    })
}

#[tokio::test]
async fn what_is_shown_as_left_is_what_may_leave() {
    let now_us = Arc::new(AtomicI64::new(NOON.0));
    let house = House::at(Arc::clone(&now_us), |_| {});
    let mut story = Story { house, now_us, commands: 0, version: 0 };
    let mut random = Random(7);
    story.must(open(1, "client:anna"));
    story.must(open(2, "client:boris"));
    story.calendar(0);
    let mut holds: Vec<CommandId> = Vec::new();
    let (mut exact, mut nothing_left) = (0, 0);
    story.limit(Caps { per_transfer_minor: Some(900), daily_minor: Some(2_000), monthly_minor: Some(9_000) });
    for _ in 0..STEPS {
        match random.below(12) {
            0..=3 => {
                let _ = story.give(pay(i128::from(random.below(700)) + 1));
            }
            4 | 5 => {
                let now = story.now_us.load(Ordering::SeqCst);
                let expires_at = (random.below(2) == 0).then_some(Timestamp(now + 30 * HOUR_US));
                let amount = Money::new(i128::from(random.below(500)) + 2, euro());
                let hold = PlaceHold { account: AccountId(1), amount, expires_at, reference: "".into() };
                if let (hold, Verdict::Accepted) = story.give(CommandBody::PlaceHold(hold)) {
                    holds.push(hold);
                }
            }
            6 if !holds.is_empty() => {
                let hold = holds.swap_remove(usize::try_from(random.below(holds.len() as u64)).unwrap());
                let _ = story.give(CommandBody::VoidHold(VoidHold { hold, reason: "".into() }));
            }
            7 if !holds.is_empty() => {
                let hold = holds[usize::try_from(random.below(holds.len() as u64)).unwrap()];
                let _ = story.give(CommandBody::CaptureHold(CaptureHold {
                    hold,
                    to: AccountId(2),
                    amount: Money::new(1, euro()),
                    fee_minor: Some(0),
                    last: random.below(2) == 0,
                    effective_on: None,
                    reference: "".into(),
                }));
            }
            8 | 9 => {
                let hours = i64::try_from(random.below(20)).unwrap();
                story.now_us.fetch_add(hours * HOUR_US, Ordering::SeqCst);
                // Holds whose deadline has come expire with the next block.
                story.must(open(story.commands + 1_000, ""));
            }
            10 => {
                let hours = i64::try_from(random.below(10)).unwrap() - 5;
                story.calendar(hours);
            }
            _ => {
                let mut cap = |most: u64| (random.below(4) > 0).then(|| i128::from(random.below(most)) + 300);
                let (per_transfer_minor, daily_minor, monthly_minor) = (cap(900), cap(2_500), cap(12_000));
                story.limit(Caps { per_transfer_minor, daily_minor, monthly_minor });
            }
        }
        match story.left().await {
            None => assert_eq!(story.refusal_of(1_000_000), None, "nothing is limited"),
            Some(left) => {
                let refused = story.refusal_of(left + 1);
                assert!(matches!(refused, Some(Rejection::LimitExceeded { .. })), "{left} and one more: {refused:?}");
                if left > 0 {
                    assert_eq!(story.refusal_of(left), None, "{left}");
                    exact += 1;
                } else {
                    nothing_left += 1;
                }
            }
        }
    }
    assert!(exact > 100 && nothing_left > 5, "{exact} {nothing_left}");
}
