//! Requests about bill payments.

use std::fmt;

use event_schemas::CommandId;
use event_schemas::bounds::PROVIDER_FIELDS_MAX;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::body::Text;
use crate::openapi::types;

/// `POST …/payments`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BillPaymentRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::ProviderId)]
    pub(crate) provider: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::PaymentDetails>)]
    pub(crate) details: Option<Details<'a>>,
}

/// `POST …/payments/{payment}/cancel` and `…/reverse`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentActRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reason: Option<Text<'a>>,
}

/// Names and texts, each name once.
#[derive(Debug)]
pub(crate) struct Details<'a>(pub(crate) Vec<(String, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Details<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Vec<(String, Text<'de>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Text<'de>>()? {
                    if found.len() == PROVIDER_FIELDS_MAX || found.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("too many details, or one of them twice"));
                    }
                    found.push((name, value));
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Named).map(Self)
    }
}
