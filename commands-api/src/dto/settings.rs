//! Requests that set what later decisions are made by.

use std::fmt;

use event_schemas::CommandId;
use event_schemas::bounds::VERSION_MAX;
use event_schemas::fees::FeeKind;
use event_schemas::notices::NoticeChannel;
use serde::de::{Deserialize, Deserializer, Error as _};
use utoipa::ToSchema;

use crate::body::{Object, Text};
use crate::openapi::types;

/// The version of a setting: above zero, and exact in any reader of JSON.
#[derive(Clone, Copy)]
pub(crate) struct Version(pub(crate) u64);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = u64::deserialize(deserializer)?;
        if (1..=VERSION_MAX).contains(&version) { Ok(Self(version)) } else { Err(D::Error::custom("out of range")) }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `POST …/customers/{owner}/limits`.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[schema(value_type = types::Version)]
    pub(crate) version: Version,
    /// The most that leaves in one transfer, withdrawal or hold.
    #[serde(borrow)]
    #[schema(value_type = Option<types::PositiveAmount>)]
    pub(crate) per_transfer: Option<Text<'a>>,
    /// The most that leaves in a calendar day.
    #[serde(borrow)]
    #[schema(value_type = Option<types::PositiveAmount>)]
    pub(crate) daily: Option<Text<'a>>,
    /// The most that leaves in a calendar month.
    #[serde(borrow)]
    #[schema(value_type = Option<types::PositiveAmount>)]
    pub(crate) monthly: Option<Text<'a>>,
}

/// `POST …/calendar`.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalendarRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[schema(value_type = types::Version)]
    pub(crate) version: Version,
    #[serde(borrow)]
    #[schema(value_type = types::ZoneName)]
    pub(crate) zone: Text<'a>,
    /// The version of the database that the starts come from; the server's own if it works them out.
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) tz_version: Option<Text<'a>>,
    /// The first day it knows.
    #[serde(borrow)]
    #[schema(value_type = types::CivilDate)]
    pub(crate) first_day: Text<'a>,
    /// When each day begins and, last, when the last one ends. Without it the server works out 400 days.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<types::Timestamp>>, max_items = 801)]
    pub(crate) starts: Option<Vec<Text<'a>>>,
}

/// `POST …/fee-rules`.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeeRuleRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[schema(value_type = types::FeeKind)]
    pub(crate) kind: FeeKind,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[schema(value_type = types::Version)]
    pub(crate) version: Version,
    /// What is charged in any case; zero if not given.
    #[serde(borrow)]
    #[schema(value_type = Option<types::NotNegativeAmount>)]
    pub(crate) fixed: Option<Text<'a>>,
    /// What is charged of the amount, in millionths of it: 2500 are 0.25 %.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub(crate) rate_ppm: Option<u32>,
    /// The least that is charged; zero if not given.
    #[serde(borrow)]
    #[schema(value_type = Option<types::NotNegativeAmount>)]
    pub(crate) min: Option<Text<'a>>,
    /// The most that is charged; without a bound if not given.
    #[serde(borrow)]
    #[schema(value_type = Option<types::NotNegativeAmount>)]
    pub(crate) max: Option<Text<'a>>,
}

/// `POST …/period-closes`.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosePeriodRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    /// The last day that is closed.
    #[serde(borrow)]
    #[schema(value_type = types::CivilDate)]
    pub(crate) through: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reason: Option<Text<'a>>,
}

/// `POST …/customers/{owner}/notification-preferences`.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreferencesRequest {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[schema(value_type = types::Version)]
    pub(crate) version: Version,
    #[schema(value_type = TopicsRequest)]
    pub(crate) topics: Object<TopicsRequest>,
}

/// The channels by which a customer is told of each topic. A channel given twice is given once.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicsRequest {
    /// Money came in.
    #[schema(value_type = Option<Vec<types::NoticeChannel>>)]
    pub(crate) money_in: Option<Vec<NoticeChannel>>,
    /// Money went out.
    #[schema(value_type = Option<Vec<types::NoticeChannel>>)]
    pub(crate) money_out: Option<Vec<NoticeChannel>>,
    /// Money was set aside, or is free again.
    #[schema(value_type = Option<Vec<types::NoticeChannel>>)]
    pub(crate) hold: Option<Vec<NoticeChannel>>,
    /// Something that was asked for was refused.
    #[schema(value_type = Option<Vec<types::NoticeChannel>>)]
    pub(crate) refusal: Option<Vec<NoticeChannel>>,
    /// An account was opened, frozen, unfrozen or closed.
    #[schema(value_type = Option<Vec<types::NoticeChannel>>)]
    pub(crate) account: Option<Vec<NoticeChannel>>,
    /// The customer's limits or preferences changed.
    #[schema(value_type = Option<Vec<types::NoticeChannel>>)]
    pub(crate) settings: Option<Vec<NoticeChannel>>,
}
