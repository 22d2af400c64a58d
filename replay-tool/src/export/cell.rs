//! Cells of csv that hold free text. A spreadsheet takes what begins like a formula for one and runs it, whoever wrote it: such
//! a text gets an apostrophe in front, which spreadsheets don't show. Numbers, dates and ids are never touched.

use std::borrow::Cow;

/// The text as it can stand in a cell.
pub(super) fn inert(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
