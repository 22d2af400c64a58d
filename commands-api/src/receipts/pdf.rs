//! A receipt as a PDF of one page (two or more if it is long), in Helvetica, which every reader has: nothing is embedded.
//!
//! The font knows Western European letters (WinAnsi); others become a question mark. The page has all of them.

use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};

use super::Receipt;

/// A4, in points.
const PAGE: (f32, f32) = (595.0, 842.0);
const MARGIN: f32 = 56.0;
const LINE: f32 = 20.0;
/// How many characters of a text fit on a line.
const WIDTH_CHARS: usize = 56;
/// How many lines fit on a page.
const PER_PAGE: usize = 34;

/// A text in WinAnsi.
fn encoded(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| match c {
            '\u{20ac}' => 0x80,
            ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(c)).unwrap_or(b'?'),
            _ => b'?',
        })
        .collect()
}

/// A text in lines of a bounded length.
fn wrapped(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return vec![String::new()];
    }
    chars.chunks(WIDTH_CHARS).map(|chunk| chunk.iter().collect()).collect()
}

/// The document.
pub(super) fn document(receipt: &Receipt) -> Vec<u8> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let last = [("Verification hash (BLAKE3)".to_owned(), receipt.hash.clone())];
    for (label, text) in receipt.lines.iter().map(|line| (line.label.clone(), line.text.clone())).chain(last) {
        let label: String = label.chars().take(28).collect();
        for (at, part) in wrapped(&text).into_iter().enumerate() {
            lines.push((if at == 0 { label.clone() } else { String::new() }, part));
        }
    }
    let pages: Vec<_> = lines.chunks(PER_PAGE).collect();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        Ref::new(next)
    };
    let (catalog, tree, plain, bold) = (fresh(), fresh(), fresh(), fresh());
    let ids: Vec<(Ref, Ref)> = pages.iter().map(|_| (fresh(), fresh())).collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids(ids.iter().map(|(page, _)| *page)).count(i32::try_from(ids.len()).unwrap_or(i32::MAX));
    for (id, font) in [(plain, &b"Helvetica"[..]), (bold, &b"Helvetica-Bold"[..])] {
        pdf.type1_font(id).base_font(Name(font)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for ((id, content_id), lines) in ids.iter().zip(&pages) {
        let mut page = pdf.page(*id);
        page.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).parent(tree).contents(*content_id);
        page.resources().fonts().pair(Name(b"F"), plain).pair(Name(b"B"), bold);
        page.finish();
        let mut content = Content::new();
        let mut put = |font: &'static [u8], size: f32, x: f32, y: f32, text: &str| {
            content.begin_text().set_font(Name(font), size).next_line(x, y).show(Str(&encoded(text))).end_text();
        };
        let mut y = PAGE.1 - MARGIN - 20.0;
        put(b"B", 16.0, MARGIN, y, &format!("Receipt {}", receipt.number));
        y -= 2.0 * LINE;
        for (label, text) in *lines {
            put(b"F", 10.0, MARGIN, y, label);
            put(b"F", 10.0, MARGIN + 150.0, y, text);
            y -= LINE;
        }
        pdf.stream(*content_id, &content.finish());
    }
    pdf.finish()
}
