//! Money that enters or leaves the book: `POST /v1/books/{book}/top-ups` and `/withdrawals`.

use event_schemas::CommandBody;
use event_schemas::bounds::TEXT_MAX_BYTES;
use event_schemas::command::CashMove;

use crate::amounts;
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::CashRequest;
use crate::policy::Action;
use crate::text::free_text;
use crate::verdict::record;

/// Money enters.
pub(crate) async fn top_up(call: Call) -> Outcome {
    call.permit(Action::TopUp)?;
    cash(call, CommandBody::TopUp).await
}

/// Money leaves.
pub(crate) async fn withdraw(call: Call) -> Outcome {
    call.permit(Action::Withdraw)?;
    cash(call, CommandBody::Withdraw).await
}

async fn cash(call: Call, command: fn(CashMove) -> CommandBody) -> Outcome {
    let request = parse::<CashRequest<'static>>(&call.body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let cash = CashMove {
        account: amounts::account(&request.account, call.state.book, "#/account")?,
        amount: amounts::positive(&request.amount, currency, "#/amount")?,
        fee_minor: amounts::fee(request.fee.as_deref(), currency)?,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    record(&call, request.id, command(cash)).await
}
