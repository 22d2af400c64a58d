//! Free text: bounded, without control characters, and without what looks like a card number.
//!
//! A journal forgets nothing, so what must not be kept must not enter. A run of 13 to 19 digits whose Luhn sum is right is
//! taken for a card number, plain or in the groups in which cards print it. One in ten of all such runs is right by chance:
//! a client whose own numbers are that long refers to them by another name.

use crate::problem::{Code, Problem};

/// The text, if it may enter the journal. `pointer` names the field; `max_bytes` counts UTF-8.
pub(crate) fn free_text(text: &str, pointer: &str, max_bytes: usize) -> Result<Box<str>, Problem> {
    if text.len() > max_bytes {
        return Err(Problem::field(Code::TextTooLong, pointer, format!("at most {max_bytes} bytes of UTF-8")));
    }
    if text.chars().any(is_control) {
        return Err(Problem::field(Code::TextInvalid, pointer, "control characters are refused"));
    }
    if has_card_number(text) {
        return Err(Problem::field(
            Code::CardNumberInText,
            pointer,
            "a number of 13 to 19 digits with a valid check digit is refused",
        ));
    }
    Ok(text.into())
}

/// Control characters, and the invisible ones that turn the direction of text, break lines or hide in it: they make one text
/// look like another in a statement. The joiners U+200C and U+200D stay: scripts and emoji need them.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn has_card_number(text: &str) -> bool {
    // Most texts have no such number of digits at all.
    if text.bytes().filter(u8::is_ascii_digit).count() < 13 {
        return false;
    }
    let groups = digit_groups(text.as_bytes());
    groups.iter().any(|group| is_card(group.digits))
        || (0..groups.len()).any(|first| {
            let mut joined = Vec::with_capacity(19);
            for (at, group) in groups.iter().enumerate().skip(first) {
                if at > first && !group.follows_closely {
                    break;
                }
                joined.extend_from_slice(group.digits);
                if joined.len() > 19 {
                    break;
                }
                if at > first && printed_as_card(&groups, first, at) && is_card(&joined) {
                    return true;
                }
            }
            false
        })
}

struct Group<'a> {
    digits: &'a [u8],
    /// Whether one space or dash parts it from the group before.
    follows_closely: bool,
}

fn digit_groups(text: &[u8]) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut rest = text;
    let mut gap: &[u8] = &[];
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 {
            let (run, behind) = rest.split_at(digits);
            groups.push(Group { digits: run, follows_closely: matches!(gap, b" " | b"-") });
            rest = behind;
        }
        let others = rest.iter().take_while(|b| !b.is_ascii_digit()).count();
        let (between, behind) = rest.split_at(others);
        gap = between;
        rest = behind;
    }
    groups
}

/// Groups of four with a shorter last one, or the 4-6-5 and 4-6-4 of some issuers.
fn printed_as_card(groups: &[Group<'_>], first: usize, last: usize) -> bool {
    let lengths: Vec<usize> = groups.iter().take(last + 1).skip(first).map(|group| group.digits.len()).collect();
    match lengths.as_slice() {
        [4, 6, 4 | 5] => true,
        [fours @ .., end] => fours.iter().all(|&length| length == 4) && (1..=4).contains(end),
        [] => false,
    }
}

fn is_card(digits: &[u8]) -> bool {
    if !(13..=19).contains(&digits.len()) || digits.iter().all(|&b| b == b'0') {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0');
            match (at % 2, digit) {
                (0, _) => digit,
                (_, 0..=4) => digit * 2,
                _ => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers() {
        for (text, found) in [
            ("4111111111111111", true),
            ("card 4111111111111111 paid", true),
            ("x4111111111111111y", true),
            ("4111 1111 1111 1111", true),
            ("4111-1111-1111-1111 12/27", true),
            ("pay 2024 4111 1111 1111 1111", true),
            ("3782 822463 10005", true),
            ("378282246310005", true),
            ("4222222222222", true),
            ("4111111111111112", false),
            ("4111 1111 1111 1112", false),
            ("invoice 2026-11-21 for 12.50", false),
            ("411111111111", false),
            // Twenty digits and more are an IBAN's or another number's, not a card's.
            ("41111111111111111111", false),
            ("0000000000000", false),
            ("4111  1111  1111  1111", false),
            ("", false),
        ] {
            assert_eq!(has_card_number(text), found, "{text:?}");
        }
    }

    #[test]
    fn texts() {
        let code = |text: &str| free_text(text, "#/reference", 8).map_err(|problem| problem.code());
        assert_eq!(code("plain"), Ok("plain".into()));
        assert_eq!(code("žluťák"), Err(Code::TextTooLong), "bytes count, not characters");
        assert_eq!(code("a\nb"), Err(Code::TextInvalid));
        assert_eq!(code("a\u{0}"), Err(Code::TextInvalid));
        assert_eq!(code("\u{202e}ab"), Err(Code::TextInvalid));
        for hidden in ["\u{61c}", "\u{200b}", "\u{2060}", "\u{2066}", "\u{206a}", "\u{feff}", "\u{fffa}", "\u{e0041}"] {
            assert_eq!(code(&format!("a{hidden}")), Err(Code::TextInvalid), "{hidden:?}");
        }
        assert_eq!(code("a\u{200d}b"), Ok("a\u{200d}b".into()), "joiners are part of scripts");
        assert_eq!(code("123456789"), Err(Code::TextTooLong));
    }
}
