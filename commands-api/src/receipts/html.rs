//! A receipt as a page: text with a style of its own, no scripts, nothing loaded.

use std::fmt::Write as _;

use super::Receipt;

/// What the page may do: nothing but look like something.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#111}\
h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:normal;color:#555;\
width:14rem;vertical-align:top}th,td{padding:.35rem 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere}\
footer{margin-top:1.5rem;font-size:.8rem;color:#555}code{overflow-wrap:anywhere}";

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The page.
pub(super) fn page(receipt: &Receipt) -> String {
    let number = escaped(&receipt.number);
    let mut rows = String::new();
    for line in &receipt.lines {
        // Writing to a text never fails.
        let _ =
            writeln!(rows, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(&line.label), escaped(&line.text));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Receipt {number}</title>\
         <style>{STYLE}</style></head>\n<body><h1>Receipt {number}</h1>\n<table>\n{rows}</table>\n\
         <footer>Verification hash (BLAKE3)<br><code>{}</code></footer></body></html>\n",
        escaped(&receipt.hash)
    )
}
