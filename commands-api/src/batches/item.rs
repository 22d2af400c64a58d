//! Items of a batch: a `type` and the members of that command's own request, with its `id` or its `idempotency_key`. The same
//! key stands for the same command here and in the header of a single request, so either may be retried as the other.

use std::borrow::Cow;
use std::fmt;

use event_schemas::bounds::BODY_MAX_BYTES;
use event_schemas::{CommandBody, CommandId};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::asking::{Asking, Prepared};
use crate::body::Text;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::{
    accounts, amounts, calendar, cash, entries, fee_rules, holds, limits, periods, preferences, reversals, transfers,
};

/// What an item asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemType {
    Transfer,
    TransferUpTo,
    TopUp,
    Withdrawal,
    Entry,
    Hold,
    Capture,
    Void,
    Reversal,
    OpenAccount,
    FreezeAccount,
    UnfreezeAccount,
    CloseAccount,
    SetLimits,
    PublishCalendar,
    SetFeeRule,
    ClosePeriod,
    SetPreferences,
}

impl ItemType {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Transfer,
        Self::TransferUpTo,
        Self::TopUp,
        Self::Withdrawal,
        Self::Entry,
        Self::Hold,
        Self::Capture,
        Self::Void,
        Self::Reversal,
        Self::OpenAccount,
        Self::FreezeAccount,
        Self::UnfreezeAccount,
        Self::CloseAccount,
        Self::SetLimits,
        Self::PublishCalendar,
        Self::SetFeeRule,
        Self::ClosePeriod,
        Self::SetPreferences,
    ];

    /// The text of the member `type`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::TransferUpTo => "transfer_up_to",
            Self::TopUp => "top_up",
            Self::Withdrawal => "withdrawal",
            Self::Entry => "entry",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Reversal => "reversal",
            Self::OpenAccount => "open_account",
            Self::FreezeAccount => "freeze_account",
            Self::UnfreezeAccount => "unfreeze_account",
            Self::CloseAccount => "close_account",
            Self::SetLimits => "set_limits",
            Self::PublishCalendar => "publish_calendar",
            Self::SetFeeRule => "set_fee_rule",
            Self::ClosePeriod => "close_period",
            Self::SetPreferences => "set_notification_preferences",
        }
    }

    fn of(name: Option<&str>) -> Result<Self, Problem> {
        let Some(name) = name else {
            return Err(Problem::field(Code::MissingField, "#/type", "the field type is missing"));
        };
        Self::ALL.iter().copied().find(|known| known.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|known| known.name()).collect();
            let detail = format!("there is no such type; {} are known", known.join(", "));
            Problem::field(Code::FieldInvalid, "#/type", detail)
        })
    }
}

/// An item: what a batch needs of it, and the rest as it came, for the DTO of its type.
pub(super) struct Item<'a> {
    kind: Option<Text<'a>>,
    pub(super) key: Option<Text<'a>>,
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
                let mut item = Item { kind: None, key: None, rest: Vec::with_capacity(8) };
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name {
                        "type" if item.kind.is_some() => return Err(A::Error::duplicate_field("type")),
                        "type" => item.kind = Some(map.next_value()?),
                        "idempotency_key" if item.key.is_some() => {
                            return Err(A::Error::duplicate_field("idempotency_key"));
                        }
                        "idempotency_key" => item.key = Some(map.next_value()?),
                        _ => item.rest.push((name.into_inner(), map.next_value()?)),
                    }
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(Items)
    }
}

impl<'a> Item<'a> {
    /// The members that are not the batch's, as a body of their own: repeated names stay repeated, for the DTO to refuse.
    fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = vec![b'{'];
        for (name, value) in &self.rest {
            if bytes.len() > 1 {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, name)?;
            bytes.push(b':');
            bytes.extend_from_slice(value.get().as_bytes());
        }
        bytes.push(b'}');
        Ok(bytes)
    }

    /// Takes out the member that a single request has in its path: a hold or an entry, by its id, or a customer.
    fn take(&mut self, name: &'static str) -> Option<&'a RawValue> {
        let at = self.rest.iter().position(|(member, _)| member == name)?;
        Some(self.rest.remove(at).1)
    }

    /// The command that an item asks for.
    pub(super) fn prepare(&mut self, asking: &Asking<'_>) -> Result<Prepared, Problem> {
        let of = ItemType::of(self.kind.as_deref())?;
        let about = match of {
            ItemType::Capture | ItemType::Void => ("hold", self.take("hold")),
            ItemType::Reversal => ("entry", self.take("entry")),
            ItemType::SetLimits | ItemType::SetPreferences => ("owner", self.take("owner")),
            ItemType::Transfer
            | ItemType::TransferUpTo
            | ItemType::TopUp
            | ItemType::Withdrawal
            | ItemType::Entry
            | ItemType::Hold
            | ItemType::OpenAccount
            | ItemType::FreezeAccount
            | ItemType::UnfreezeAccount
            | ItemType::CloseAccount
            | ItemType::PublishCalendar
            | ItemType::SetFeeRule
            | ItemType::ClosePeriod => ("", None),
        };
        let owner = || owner(about.0, about.1);
        let about = || id(about.0, about.1);
        let body = &*self.body().map_err(|_| Problem::new(Code::InvalidJson))?;
        if body.len() > BODY_MAX_BYTES {
            return Err(Problem::detailed(Code::BodyTooLarge, format!("an item has at most {BODY_MAX_BYTES} bytes")));
        }
        match of {
            ItemType::Transfer => transfers::prepare(asking, body),
            ItemType::TransferUpTo => transfers::prepare_up_to(asking, body),
            ItemType::TopUp => cash::prepare(asking, body, Action::TopUp, CommandBody::TopUp),
            ItemType::Withdrawal => cash::prepare(asking, body, Action::Withdraw, CommandBody::Withdraw),
            ItemType::Entry => entries::prepare(asking, body),
            ItemType::Hold => holds::prepare_place(asking, body),
            ItemType::Capture => holds::prepare_capture(asking, about, body),
            ItemType::Void => holds::prepare_void(asking, about, body),
            ItemType::Reversal => reversals::prepare_whole(asking, about, body),
            ItemType::OpenAccount => accounts::prepare_open(asking, body),
            ItemType::FreezeAccount => {
                accounts::prepare_act(asking, body, Action::FreezeAccount, CommandBody::FreezeAccount)
            }
            ItemType::UnfreezeAccount => {
                accounts::prepare_act(asking, body, Action::UnfreezeAccount, CommandBody::UnfreezeAccount)
            }
            ItemType::CloseAccount => {
                accounts::prepare_act(asking, body, Action::CloseAccount, CommandBody::CloseAccount)
            }
            ItemType::SetLimits => limits::prepare(asking, owner, body),
            ItemType::PublishCalendar => calendar::prepare(asking, body),
            ItemType::SetFeeRule => fee_rules::prepare(asking, body),
            ItemType::ClosePeriod => periods::prepare(asking, body),
            ItemType::SetPreferences => preferences::prepare(asking, owner, body),
        }
    }
}

/// The customer in this member.
fn owner(name: &str, value: Option<&RawValue>) -> Result<Box<str>, Problem> {
    let pointer = format!("#/{name}");
    let Some(value) = value else {
        return Err(Problem::field(Code::MissingField, pointer, format!("the field {name} is missing")));
    };
    let text: Text<'_> = serde_json::from_str(value.get())
        .map_err(|_| Problem::field(Code::FieldInvalid, &pointer, "the name of a customer is expected"))?;
    amounts::customer(&text, &pointer)
}

/// The id in this member.
fn id(name: &str, value: Option<&RawValue>) -> Result<CommandId, Problem> {
    let pointer = format!("#/{name}");
    match value {
        None => Err(Problem::field(Code::MissingField, pointer, format!("the field {name} is missing"))),
        Some(value) => serde_json::from_str(value.get())
            .map_err(|_| Problem::field(Code::FieldInvalid, pointer, "the UUID of a command is expected")),
    }
}
