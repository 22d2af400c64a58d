//! What is booked while measuring: accounts and transfers that follow from their numbers.

use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount, PostTransfer};
use event_schemas::{AccountId, Command, CommandBody, CommandId, Currency, Money, PrincipalId};

use crate::Ids;

/// Who gives the commands.
pub(crate) const ACTOR: PrincipalId = PrincipalId(1);

pub(crate) fn currency() -> Currency {
    Currency::from_parts(*b"EUR", 2).expect("EUR is a currency")
}

/// Bits that look random and follow from others.
pub(crate) const fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The id of an account, spread like random UUIDs without keeping a list of them; the version bits are those of UUIDv4.
pub(crate) fn account(number: u64) -> AccountId {
    let random = (u128::from(mix(number)) << 64) | u128::from(mix(number ^ 0xa5a5_5a5a));
    AccountId((random & !(0xf << 76)) | (4 << 76))
}

/// The opening of a customer's account without an overdraft, or with one that nothing here exhausts.
pub(crate) fn open(number: u64, overdraft_minor: i128) -> CommandBody {
    CommandBody::OpenAccount(OpenAccount {
        account: account(number),
        code: Box::default(),
        kind: AccountKind::Liability,
        currency: currency(),
        owner: format!("customer:{number}").into(),
        policy: BalancePolicy::Limited { overdraft_minor },
    })
}

/// More than is ever moved here.
pub(crate) const AMPLE_MINOR: i128 = 1_000_000_000_000;

/// A command with an id made of a number, apart from those of [`transfer`].
pub(crate) fn numbered(number: u64, body: CommandBody) -> Command {
    Command { id: CommandId(u128::from(number) | (1 << 127)), actor: ACTOR, body }
}

/// The body of a transfer of up to 100.00.
pub(crate) fn move_money(from: u64, to: u64, random: u64) -> CommandBody {
    CommandBody::PostTransfer(PostTransfer {
        from: account(from),
        to: account(to),
        amount: Money::new(i128::from(random % 10_000) + 1, currency()),
        fee_minor: Some(0),
        effective_on: None,
        reference: Box::default(),
    })
}

/// A transfer between two of so many accounts.
pub(crate) fn transfer(number: u64, accounts: u64, ids: Ids) -> Command {
    let random = mix(number);
    let from = random % accounts;
    let to = (from + 1 + (random >> 32) % (accounts - 1)) % accounts;
    let high = match ids {
        Ids::Random => mix(random),
        Ids::TimeOrdered => ((1_790_000_000_000 + number / 600) << 16) | (number % 600),
    };
    let id = CommandId((u128::from(high) << 64) | u128::from(random));
    Command { id, actor: ACTOR, body: move_money(from, to, random) }
}
