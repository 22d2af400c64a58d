//! What clients are shown of read models: amounts as texts with the decimals of their currency.

use event_schemas::command::BalancePolicy;
use event_schemas::{AccountId, CommandId, Currency, Money, Sequence, Timestamp};
use projections::balances::{AccountView, BalanceView, HoldView};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::openapi::types;

/// An amount of minor units, written as a decimal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AmountJson(Money);

impl AmountJson {
    pub(crate) const fn new(amount_minor: i128, currency: Currency) -> Self {
        Self(Money::new(amount_minor, currency))
    }
}

impl From<Money> for AmountJson {
    fn from(money: Money) -> Self {
        Self(money)
    }
}

impl Serialize for AmountJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.amount())
    }
}

/// An amount with its currency.
#[derive(Serialize, ToSchema)]
#[schema(as = MoneyAmount)]
pub(crate) struct MoneyJson {
    #[schema(value_type = types::Amount)]
    amount: AmountJson,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
}

impl From<Money> for MoneyJson {
    fn from(money: Money) -> Self {
        Self { amount: money.into(), currency: money.currency.to_string() }
    }
}

/// An account, with its balance now.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct AccountJson {
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: Box<str>,
    #[schema(value_type = types::AccountKind)]
    kind: &'static str,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    owner: Box<str>,
    /// An amount, or `unlimited`.
    #[schema(value_type = types::Overdraft)]
    overdraft: String,
    #[schema(value_type = types::AccountStatus)]
    status: &'static str,
    #[schema(value_type = types::Sequence)]
    opened_sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    opened_at: Timestamp,
    #[schema(value_type = types::Sequence)]
    changed_sequence: Sequence,
    #[schema(value_type = types::Amount)]
    balance: AmountJson,
    /// `null` without a limit.
    #[schema(value_type = Option<types::Amount>, required)]
    available: Option<AmountJson>,
}

impl From<AccountView> for AccountJson {
    fn from(view: AccountView) -> Self {
        Self {
            account: view.account,
            code: view.code,
            kind: view.kind.name(),
            currency: view.currency.to_string(),
            owner: view.owner,
            overdraft: match view.policy {
                BalancePolicy::Limited { overdraft_minor } => {
                    Money::new(overdraft_minor, view.currency).amount().to_string()
                }
                BalancePolicy::Unlimited => "unlimited".into(),
            },
            status: view.status.name(),
            opened_sequence: view.opened_sequence,
            opened_at: view.opened_at,
            changed_sequence: view.changed_sequence,
            balance: view.balance.balance.into(),
            available: view.balance.available.map(Into::into),
        }
    }
}

/// A balance.
#[derive(Serialize, ToSchema)]
#[schema(as = Balance)]
pub(crate) struct BalanceJson {
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    #[schema(value_type = types::AccountKind)]
    kind: &'static str,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    #[schema(value_type = types::Amount)]
    balance: AmountJson,
    /// `null` without a limit.
    #[schema(value_type = Option<types::Amount>, required)]
    available: Option<AmountJson>,
    #[schema(value_type = types::Amount)]
    debits: AmountJson,
    #[schema(value_type = types::Amount)]
    credits: AmountJson,
    #[schema(value_type = types::Amount)]
    pending_debits: AmountJson,
    #[schema(value_type = types::Amount)]
    pending_credits: AmountJson,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

impl From<BalanceView> for BalanceJson {
    fn from(view: BalanceView) -> Self {
        let amount = |minor| AmountJson::new(minor, view.currency);
        Self {
            account: view.account,
            kind: view.kind.name(),
            currency: view.currency.to_string(),
            balance: view.balance.into(),
            available: view.available.map(Into::into),
            debits: amount(view.debits_minor),
            credits: amount(view.credits_minor),
            pending_debits: amount(view.pending_debits_minor),
            pending_credits: amount(view.pending_credits_minor),
            sequence: view.sequence,
        }
    }
}

/// A hold.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldJson {
    #[schema(value_type = types::CommandId)]
    hold: CommandId,
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    #[schema(value_type = types::HoldStatus)]
    status: &'static str,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    #[schema(value_type = types::Amount)]
    amount: AmountJson,
    #[schema(value_type = types::Amount)]
    left: AmountJson,
    #[schema(value_type = types::Amount)]
    captured: AmountJson,
    /// `null` if no time ends it.
    #[schema(value_type = Option<types::Timestamp>, required)]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reference: Box<str>,
    #[schema(value_type = types::Sequence)]
    placed_sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    placed_at: Timestamp,
    #[schema(value_type = types::Sequence)]
    changed_sequence: Sequence,
}

impl From<HoldView> for HoldJson {
    fn from(view: HoldView) -> Self {
        Self {
            hold: view.hold,
            account: view.account,
            status: view.status.name(),
            currency: view.amount.currency.to_string(),
            amount: view.amount.into(),
            left: view.left.into(),
            captured: view.captured.into(),
            expires_at: view.expires_at,
            reference: view.reference,
            placed_sequence: view.placed_sequence,
            placed_at: view.placed_at,
            changed_sequence: view.changed_sequence,
        }
    }
}
