//! What clients send. One struct per request, every one closed to fields it does not know; what a client may not set is not
//! in it at all. Texts stay texts here: the resources turn them into money, dates and accounts and refuse each by its code.

use event_schemas::command::AccountKind;
use event_schemas::{CommandId, Side};
use serde::Deserialize;

use crate::body::{Dto, Text};

/// `POST …/accounts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAccountRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) account: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) code: Option<Text<'a>>,
    pub(crate) kind: AccountKind,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    pub(crate) owner: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) overdraft: Option<Text<'a>>,
}

/// `POST …/accounts/{account}/freeze`, `/unfreeze` and `/close`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountActRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) reason: Option<Text<'a>>,
}

/// An act on an account as an item of a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountActItem<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    pub(crate) reason: Option<Text<'a>>,
}

/// `POST …/top-ups` and `…/withdrawals`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CashRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    pub(crate) fee: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/transfers`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) from: Text<'a>,
    #[serde(borrow)]
    pub(crate) to: Text<'a>,
    #[serde(borrow)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    pub(crate) fee: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/entries`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) postings: Vec<PostingRequest<'a>>,
    #[serde(borrow)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/holds`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    pub(crate) expires_at: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/holds/{hold}/capture`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) to: Text<'a>,
    #[serde(borrow)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    pub(crate) fee: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) last: bool,
    #[serde(borrow)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/holds/{hold}/void`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoidRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) reason: Option<Text<'a>>,
}

/// `POST …/entries/{command}/reverse`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReverseRequest<'a> {
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    pub(crate) postings: Option<Vec<PartRequest<'a>>>,
    #[serde(borrow)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reference: Option<Text<'a>>,
}

/// So much of one posting of an entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartRequest<'a> {
    pub(crate) posting: u32,
    #[serde(borrow)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
}

/// One posting of an entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostingRequest<'a> {
    #[serde(borrow)]
    pub(crate) account: Text<'a>,
    pub(crate) side: Side,
    #[serde(borrow)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    pub(crate) currency: Text<'a>,
}

macro_rules! dto {
    ($($name:ident)*) => {
        $(impl Dto for $name<'static> {
            type Of<'a> = $name<'a>;
        })*
    };
}

dto! { OpenAccountRequest AccountActRequest AccountActItem CashRequest TransferRequest EntryRequest HoldRequest CaptureRequest
VoidRequest ReverseRequest }
