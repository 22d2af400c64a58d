//! Texts with columns in them: `berka:{account_id}`, `supplier:{SupplierName|slug}`. Read once, bound to a file's columns
//! once, then filled for each row.

use std::fmt::Write as _;

/// The columns of a file, and a record of it.
pub(crate) struct Columns(pub(crate) Vec<String>);

impl Columns {
    /// The place of a column.
    pub(crate) fn find(&self, name: &str) -> Result<usize, String> {
        self.0
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| format!("the file has no column {name:?}; it has {}", self.shown()))
    }

    /// The names for a terminal: what is no header of ours may hold anything, and any amount of it.
    fn shown(&self) -> String {
        const NAMES_MAX: usize = 40;
        const LENGTH_MAX: usize = 40;
        let names = self.0.iter().take(NAMES_MAX).map(|name| {
            let plain = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
            plain.take(LENGTH_MAX).collect::<String>()
        });
        let more = if self.0.len() > NAMES_MAX { ", …" } else { "" };
        names.collect::<Vec<_>>().join(", ") + more
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    None,
    Slug,
    Lower,
    Upper,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<C> {
    Literal(String),
    Column(C, Filter),
}

/// A text with columns by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part<String>>);

/// A text with columns by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundTemplate(Vec<Part<usize>>);

impl Template {
    /// Reads a template. `{{` and `}}` stand for braces.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            literal.push_str(before);
            if let Some(tail) = behind.strip_prefix("{{") {
                literal.push('{');
                rest = tail;
            } else if let Some(tail) = behind.strip_prefix("}}") {
                literal.push('}');
                rest = tail;
            } else if let Some(tail) = behind.strip_prefix('{') {
                let (inner, tail) = tail.split_once('}').ok_or_else(|| format!("{text:?}: a {{ is not closed"))?;
                let (name, filter) = match inner.split_once('|') {
                    None => (inner, Filter::None),
                    Some((name, "slug")) => (name, Filter::Slug),
                    Some((name, "lower")) => (name, Filter::Lower),
                    Some((name, "upper")) => (name, Filter::Upper),
                    Some((_, other)) => {
                        return Err(format!("{text:?}: {other:?} is no filter; there are slug, lower and upper"));
                    }
                };
                if name.is_empty() {
                    return Err(format!("{text:?}: a column without a name"));
                }
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Column(name.to_owned(), filter));
                rest = tail;
            } else {
                return Err(format!("{text:?}: a }} without its {{"));
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }

    /// Whether it is the same text for every row.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Binds it to the columns of a file.
    pub(crate) fn bind(&self, columns: &Columns) -> Result<BoundTemplate, String> {
        let bind = |part: &Part<String>| {
            Ok(match part {
                Part::Literal(text) => Part::Literal(text.clone()),
                Part::Column(name, filter) => Part::Column(columns.find(name)?, *filter),
            })
        };
        self.0.iter().map(bind).collect::<Result<_, String>>().map(BoundTemplate)
    }
}

impl BoundTemplate {
    /// Fills it from a row.
    pub(crate) fn fill<'r>(&self, field: impl Fn(usize) -> &'r str) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Column(at, Filter::None) => text.push_str(field(*at)),
                Part::Column(at, Filter::Lower) => text.push_str(&field(*at).to_lowercase()),
                Part::Column(at, Filter::Upper) => text.push_str(&field(*at).to_uppercase()),
                Part::Column(at, Filter::Slug) => slug(&mut text, field(*at)),
            }
        }
        text
    }
}

/// Letters and digits in lower case with single dashes between, so that a name can be part of an account code. What is not
/// ASCII stands as its number, so that two names never become one code by losing their letters.
fn slug(out: &mut String, text: &str) {
    let mut dash = false;
    let start = out.len();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() || !letter.is_ascii() && letter.is_alphanumeric() {
            if dash && out.len() > start {
                out.push('-');
            }
            dash = false;
            if letter.is_ascii() {
                out.push(letter.to_ascii_lowercase());
            } else {
                // Writing to a String does not fail.
                let _ = write!(out, "u{:x}", u32::from(letter));
            }
        } else {
            dash = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn fill(template: &str) -> Result<String, String> {
        let columns = Columns(vec!["id".into(), "Name".into()]);
        let row = ["7", "A J H  Pump, Supply & Repair Ltd"];
        Ok(Template::parse(template)?.bind(&columns)?.fill(|at| row[at]))
    }

    #[test]
    fn templates_fill_columns() {
        assert_eq!(fill("berka:{id}").unwrap(), "berka:7");
        assert_eq!(fill("{id}{id}").unwrap(), "77");
        assert_eq!(fill("s:{Name|slug}").unwrap(), "s:a-j-h-pump-supply-repair-ltd");
        assert_eq!(fill("{Name|upper}").unwrap(), "A J H  PUMP, SUPPLY & REPAIR LTD");
        assert_eq!(fill("{{{id}}}").unwrap(), "{7}");
        assert_eq!(fill("").unwrap(), "");
    }

    #[test]
    fn wrong_templates_say_what_is_wrong() {
        assert!(fill("{nr}").unwrap_err().contains("no column \"nr\"; it has id, Name"));
        let binary = Columns(vec!["\u{1b}[2J\u{7}x".into(); 50]).find("id").unwrap_err();
        assert!(!binary.contains(char::is_control) && binary.ends_with(", …"), "{binary:?}");
        assert!(fill("{id").unwrap_err().contains("not closed"));
        assert!(fill("id}").unwrap_err().contains("without its"));
        assert!(fill("{id|rot13}").unwrap_err().contains("no filter"));
        assert!(fill("{}").unwrap_err().contains("without a name"));
    }

    #[test]
    fn a_slug_keeps_names_apart() {
        let slugged = |text: &str| {
            let mut out = String::from("x");
            slug(&mut out, text);
            out
        };
        assert_eq!(slugged(" Müller "), "xmufcller");
        assert_ne!(slugged("Müller"), slugged("Möller"));
    }
}
