//! Catalogues of providers in files, TOML or JSON: a list `provider`, each with a list `currency` and a list `field`. Amounts are
//! decimal texts.

use std::path::Path;

use anyhow::{Context as _, bail};
use event_schemas::control::{FieldKind, ProviderCategory, ProviderField, ProviderSet, ProviderTerms};
use event_schemas::{Currency, Money, Timestamp};
use serde::Deserialize;

/// The most bytes of a file.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    provider: Vec<Listed>,
}

const fn yes() -> bool {
    true
}

const fn one() -> u16 {
    1
}

const fn longest() -> u16 {
    64
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    id: Box<str>,
    name: Box<str>,
    category: ProviderCategory,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    partial: bool,
    payable: Option<Box<str>>,
    currency: Vec<Terms>,
    #[serde(default)]
    field: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    code: String,
    fee_fixed: Option<String>,
    #[serde(default)]
    fee_basis_points: u16,
    min: String,
    max: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: Box<str>,
    label: Box<str>,
    #[serde(default = "yes")]
    required: bool,
    kind: FieldKind,
    pattern: Option<Box<str>>,
    #[serde(default = "one")]
    length_min: u16,
    #[serde(default = "longest")]
    length_max: u16,
}

/// The providers of a file, as they are to be set.
pub(super) fn read(path: &Path, at: Timestamp, actor: &str, reason: &str) -> anyhow::Result<Vec<ProviderSet>> {
    let told = || path.display().to_string();
    let length = std::fs::metadata(path).with_context(told)?.len();
    if length > FILE_MAX_BYTES {
        bail!("{}: a catalogue has at most {FILE_MAX_BYTES} bytes", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(told)?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let catalogue: Catalogue = if is_json {
        serde_json::from_str(&text).with_context(told)?
    } else {
        toml::from_str(&text).with_context(told)?
    };
    catalogue.provider.into_iter().map(|listed| listed.set(at, actor, reason)).collect()
}

impl Listed {
    fn set(self, set_at: Timestamp, actor: &str, reason: &str) -> anyhow::Result<ProviderSet> {
        let id = self.id;
        let terms = |terms: Terms| -> anyhow::Result<ProviderTerms> {
            let currency: Currency =
                terms.code.parse().with_context(|| format!("provider {id}: {:?} is no currency", terms.code))?;
            let minor = |what: &str, text: &str| {
                let money = Money::parse(text, currency);
                money.map(|money| money.amount_minor).with_context(|| format!("provider {id}: {what}"))
            };
            Ok(ProviderTerms {
                currency,
                fee_fixed_minor: terms.fee_fixed.as_deref().map_or(Ok(0), |text| minor("fee_fixed", text))?,
                fee_rate_bp: terms.fee_basis_points,
                amount_min_minor: minor("min", &terms.min)?,
                amount_max_minor: minor("max", &terms.max)?,
            })
        };
        let terms = self.currency.into_iter().map(terms).collect::<anyhow::Result<Vec<_>>>()?;
        let field = |field: Field| ProviderField {
            name: field.name,
            label: field.label,
            required: field.required,
            kind: field.kind,
            pattern: field.pattern,
            length_min: field.length_min,
            length_max: field.length_max,
        };
        Ok(ProviderSet {
            name: self.name,
            category: self.category,
            enabled: self.enabled,
            partial: self.partial,
            payable: self.payable.unwrap_or_else(|| format!("payable:{id}").into()),
            terms,
            fields: self.field.into_iter().map(field).collect(),
            set_at,
            actor: actor.into(),
            reason: reason.into(),
            provider: id,
        })
    }
}
