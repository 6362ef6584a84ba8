//! Names in the languages, from what a schema says: letters, digits and `_`, never a word of the language, never twice.

use std::collections::BTreeSet;

/// Names of one scope that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// With these taken.
    pub(super) fn without(taken: &[&str]) -> Self {
        Self(taken.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The name itself, or the first of `name_2`, `name_3`, … that is not taken.
    pub(super) fn take(&mut self, name: String) -> String {
        self.first(name, "_")
    }

    /// The same of `Name2`, `Name3`, …, as types are called.
    pub(super) fn take_type(&mut self, name: String) -> String {
        self.first(name, "")
    }

    fn first(&mut self, name: String, between: &str) -> String {
        let numbered = (2_u64..).map(|number| format!("{name}{between}{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let free = free.unwrap_or(name);
        self.0.insert(free.clone());
        free
    }
}

/// Words of a text: at what is no letter or digit, and where small letters end at a capital.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for letter in text.chars() {
        let plain = letter.is_ascii_alphanumeric();
        let begins =
            !before.is_ascii_alphanumeric() || (letter.is_ascii_uppercase() && !before.is_ascii_uppercase());
        if plain && (begins || words.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| plain) {
            word.push(letter);
        }
        before = letter;
    }
    words
}

/// `CreatePayment`.
pub(super) fn pascal(text: &str) -> String {
    let capital = |word: String| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    begun(words(text).into_iter().map(capital).collect(), 'N')
}

/// `create_payment`.
pub(super) fn snake(text: &str) -> String {
    begun(words(text).join("_").to_ascii_lowercase(), 'n')
}

/// `CREATE_PAYMENT`.
pub(super) fn screaming(text: &str) -> String {
    begun(words(text).join("_").to_ascii_uppercase(), 'N')
}

/// A name begins with a letter.
fn begun(name: String, letter: char) -> String {
    if name.starts_with(|first: char| first.is_ascii_alphabetic()) { name } else { format!("{letter}{name}") }
}

/// A text as lines that stay comments wherever they stand: what ends a line or a comment, and what turns text around, is
/// spelled out.
pub(super) fn comment(text: &str) -> Vec<String> {
    let unseen = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let line = |line: &str| {
        let mut shown = String::new();
        for letter in line.trim().chars() {
            if unseen(letter) { shown.extend(letter.escape_unicode()) } else { shown.push(letter) }
        }
        shown.replace("*/", "* /").trim_end_matches('\\').to_owned()
    };
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

/// A text as a literal that TypeScript and Python read alike.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)).filter(|letter| matches!(letter, ' '..='~')) {
            Some(letter @ ('"' | '\\')) => quoted.extend(['\\', letter]),
            Some(letter) => quoted.push(letter),
            None => quoted.push_str(&format!("\\u{unit:04x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_letters_and_begins_with_one() {
        let check = |text: &str, expected: [&str; 3]| {
            assert_eq!([pascal(text), snake(text), screaming(text)], expected, "{text:?}");
        };
        check("CreatePayment", ["CreatePayment", "create_payment", "CREATE_PAYMENT"]);
        check("created_by", ["CreatedBy", "created_by", "CREATED_BY"]);
        check("view:report", ["ViewReport", "view_report", "VIEW_REPORT"]);
        check("HTTPServer", ["HTTPServer", "httpserver", "HTTPSERVER"]);
        check("2fa", ["N2fa", "n2fa", "N2FA"]);
        check("\"; evil(); //", ["Evil", "evil", "EVIL"]);
        check("", ["N", "n", "N"]);
        check("é", ["N", "n", "N"]);
    }

    #[test]
    fn a_name_is_taken_once() {
        let mut names = Names::without(&["Self"]);
        let taken: Vec<String> = ["a", "a", "a_2", "Self"].map(|name| names.take(name.to_owned())).into();
        assert_eq!(taken, ["a", "a_2", "a_2_2", "Self_2"]);
        assert_eq!([names.take_type("B".to_owned()), names.take_type("B".to_owned())], ["B", "B2"]);
    }

    #[test]
    fn a_comment_and_a_literal_end_where_we_end_them() {
        assert_eq!(comment("one\n  two */ x\r\u{2028}y\\"), ["one", "two * / x\\u{d}\\u{2028}y"]);
        assert_eq!(quoted("a\"\\\n\u{2028}é😀"), r#""a\"\\\u000a\u2028\u00e9\ud83d\ude00""#);
    }
}
