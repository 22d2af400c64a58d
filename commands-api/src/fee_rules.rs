//! Fee rules: `POST …/fee-rules`.

use event_schemas::CommandBody;
use event_schemas::bounds::FEE_RATE_MAX_PPM;
use event_schemas::fees::SetFeeRule;

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::FeeRuleRequest;
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::verdict::{Accepted, record};

/// Set a fee rule
///
/// What is charged for top-ups, withdrawals, transfers or captures in a currency when the request names no fee: a fixed part and
/// a part of the amount, rounded half to even, not below the minimum and not above the maximum. Replaces the rule that was set
/// before. Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/fee-rules",
    tag = "settings",
    operation_id = "set_fee_rule",
    params(BookPath, IdempotencyKey),
    request_body = FeeRuleRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn set(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A fee rule to be set.
pub(crate) fn prepare(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::SetFeeRule)?;
    let request = parse::<FeeRuleRequest<'static>>(body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let rate_ppm = request.rate_ppm.unwrap_or(0);
    if rate_ppm > FEE_RATE_MAX_PPM {
        let detail = format!("at most {FEE_RATE_MAX_PPM}, which is all of the amount");
        return Err(Problem::field(Code::FeeRuleInvalid, "#/rate_ppm", detail));
    }
    let part =
        |text: Option<&str>, pointer| text.map(|text| amounts::not_negative(text, currency, pointer)).transpose();
    let rule = SetFeeRule {
        kind: request.kind,
        currency,
        version: request.version.0,
        fixed_minor: part(request.fixed.as_deref(), "#/fixed")?.unwrap_or(0),
        rate_ppm,
        min_minor: part(request.min.as_deref(), "#/min")?.unwrap_or(0),
        max_minor: part(request.max.as_deref(), "#/max")?,
    };
    asking.prepared(request.id, CommandBody::SetFeeRule(rule))
}
