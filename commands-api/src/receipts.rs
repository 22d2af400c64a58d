//! Receipts of bill payments: `GET …/payments/{payment}/receipt`, as a page, as PDF or as JSON, by `Accept`.
//!
//! `html.rs` the page · `pdf.rs` the same on paper.

mod html;
mod pdf;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use ledger_core::control::payments::Payment;
use serde::Serialize;
use utoipa::ToSchema;

use crate::call::{Call, Outcome, json};
use crate::openapi::params::PaymentPath;
use crate::payments::{told, visible};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::providers::payments;

/// A line of a receipt: what, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ReceiptLine {
    label: String,
    text: String,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReceiptAnswer)]
pub(crate) struct Receipt {
    number: String,
    lines: Vec<ReceiptLine>,
    /// BLAKE3 over the payment's facts and its place in the book, in hex.
    hash: String,
}

impl Receipt {
    /// The receipt of a payment, if it has one.
    fn of(payment: &Payment, provider: &str) -> Option<Self> {
        let (request, receipt, paid) = (payment.request.as_ref()?, payment.receipt.as_ref()?, payment.captured?);
        let money = |minor| told(event_schemas::Money::new(minor, request.amount.currency));
        let line = |label: &str, text: String| ReceiptLine { label: label.into(), text };
        let mut lines = vec![
            line("Date", receipt.at.to_string()),
            line("Paid to", provider.to_owned()),
            line("Payment", request.payment.to_string()),
        ];
        if let Some(answer) = &payment.answer {
            lines.push(line("Provider's reference", answer.reference.to_string()));
        }
        lines.extend(request.details.iter().map(|detail| line(&detail.name, detail.value.to_string())));
        lines.push(line("From account", request.account.to_string()));
        lines.push(line("Amount", money(paid.amount_minor)));
        lines.push(line("Fee", money(request.fee_minor)));
        lines.push(line("Total", money(paid.amount_minor.saturating_add(request.fee_minor))));
        lines.push(line("Book entry", format!("{} / {}", request.book, paid.sequence)));
        if let Some(reversed) = payment.reversed {
            lines.push(line("Taken back", reversed.at.to_string()));
        }
        Some(Self { number: receipt.number.to_string(), lines, hash: receipt.hash.to_string() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Pdf,
    Json,
}

/// The form that is asked for first among those there are; a page if none of them is.
fn form(headers: &HeaderMap) -> Form {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
    let known = |kind: &str| match kind.trim() {
        "application/pdf" => Some(Form::Pdf),
        "application/json" => Some(Form::Json),
        "text/html" => Some(Form::Html),
        _ => None,
    };
    kinds.find_map(known).unwrap_or(Form::Html)
}

/// The receipt of a payment
///
/// Of one that succeeded: number, date, provider, amounts, fee, and a hash over the payment's facts and its place in the book. A
/// page, a PDF with `Accept: application/pdf`, or JSON with `Accept: application/json`.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/payments/{payment}/receipt",
    tag = "payments",
    operation_id = "get_receipt",
    params(PaymentPath),
    responses(
        (status = OK, description = "The receipt.", content(
            (Receipt = "application/json"),
            (String = "text/html"),
            (String = "application/pdf"),
        )),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadPayment)?;
    let payment = visible(&call, customer)?;
    let id = payment.request.as_ref().map(|request| request.provider.clone()).unwrap_or_default();
    let name = payments(&call.state)?.provider(&id).map_or_else(|| id.clone(), |set| set.name.clone());
    let receipt = Receipt::of(&payment, &name).ok_or_else(|| Problem::new(Code::ReceiptNotFound))?;
    let answer = |kind: &'static str, body: Body| {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    };
    match form(&call.headers) {
        Form::Json => json(StatusCode::OK, &receipt),
        Form::Html => {
            let mut response = answer("text/html; charset=utf-8", Body::from(html::page(&receipt)));
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::POLICY));
            Ok(response)
        }
        Form::Pdf => {
            let mut response = answer("application/pdf", Body::from(pdf::document(&receipt)));
            if let Ok(name) = HeaderValue::from_str(&format!("inline; filename=\"{}.pdf\"", receipt.number)) {
                response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
            }
            Ok(response)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_first_that_is_asked_for() {
        for (accept, expected) in [
            ("", Form::Html),
            ("*/*", Form::Html),
            ("application/pdf", Form::Pdf),
            ("image/png, application/pdf;q=0.9, text/html", Form::Pdf),
            ("application/json", Form::Json),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(form(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn a_receipt_reads_on_a_page_and_on_paper() {
        let line = |label: &str, text: &str| ReceiptLine { label: label.into(), text: text.into() };
        let receipt = Receipt {
            number: "BP-20261121-0123456789AB".into(),
            lines: vec![line("Paid to", "Wasserwerke Köln <b>"), line("Amount", "120.50 EUR"), line("Name", "Ж")],
            hash: "5e".repeat(32),
        };
        let page = html::page(&receipt);
        assert!(page.contains("Wasserwerke Köln &lt;b&gt;") && !page.contains("<b>") && page.contains(&receipt.hash));
        let paper = pdf::document(&receipt);
        assert!(paper.starts_with(b"%PDF-") && paper.ends_with(b"%%EOF"));
        let text = String::from_utf8_lossy(&paper).into_owned();
        assert!(text.contains("120.50 EUR") && text.contains("BP-20261121-0123456789AB"), "{text}");
        assert_eq!(paper, pdf::document(&receipt), "the same receipt is the same file");
    }
}
