//! Values for rows that are made up: of the type, within the checks that can be read, and known again wherever they turn up.

use super::schema::{Check, Column, Relation};

/// Makes values for one tenant, each once.
#[derive(Debug)]
pub(super) struct Values {
    /// What this tenant's values have in common, eight hexadecimal digits.
    mark: String,
    number: u32,
    made: u32,
}

impl Values {
    /// Of a tenant's eight hexadecimal digits.
    pub(super) fn new(mark: &str) -> Self {
        let number = u32::from_str_radix(mark, 16).unwrap_or_default();
        Self { mark: mark.to_owned(), number, made: 0 }
    }

    /// What makes this tenant's values known where they turn up.
    pub(super) fn marks(&self) -> [String; 3] {
        [
            format!("canary-{}", self.mark),
            format!("{}-ca17-4", self.mark),
            format!("7{:09}", self.number % 1_000_000_000),
        ]
    }

    /// A value for the column by which tables know this tenant.
    pub(super) fn tenant(&mut self, base: &str) -> Option<String> {
        match base {
            "text" | "varchar" | "bpchar" | "citext" | "name" => Some(format!("canary-{}", self.mark)),
            _ => self.of(base, ' ', -1),
        }
    }

    /// A value for a column, as text; `attempt` chooses among the words its checks name. None where the type is unknown.
    pub(super) fn value(&mut self, relation: &Relation, column: &Column, attempt: usize) -> Option<String> {
        if column.partitions
            && let Some(bound) = &relation.bound
        {
            let at = relation
                .columns
                .iter()
                .filter(|other| other.partitions)
                .position(|other| other.name == column.name);
            if let Some(word) = at.and_then(|at| words(bound).nth(at)) {
                return Some(word.to_owned());
            }
        }
        if column.partitions && matches!(column.base.as_str(), "date" | "timestamp" | "timestamptz") {
            return Some("now".to_owned());
        }
        let checked = |check: &&Check| check.columns.contains(&column.name);
        let named: Vec<&str> =
            relation.checks.iter().filter(checked).flat_map(|check| words(&check.says)).collect();
        if let Some(word) = named.get(attempt % named.len().max(1)) {
            return Some((*word).to_owned());
        }
        if column.label.is_some() {
            return column.label.clone();
        }
        let small = relation.checks.iter().any(|check| checked(&check)) && !column.key;
        match column.base.as_str() {
            "int2" | "int4" | "int8" | "numeric" | "float4" | "float8" if small => Some("1".to_owned()),
            base => self.of(base, column.category, column.typmod),
        }
    }

    /// A value of a type; `typmod` as `pg_attribute.atttypmod`.
    pub(super) fn of(&mut self, base: &str, category: char, typmod: i32) -> Option<String> {
        self.made += 1;
        let n = self.made;
        let length = usize::try_from(typmod - 4).unwrap_or(usize::MAX);
        Some(match base {
            "text" | "varchar" | "bpchar" | "citext" | "name" => {
                // What differs stands first, where there is room for little.
                let text =
                    if length < 24 { format!("{n:x}-canary") } else { format!("canary-{}-{n}", self.mark) };
                text.chars().take(length).collect()
            }
            "uuid" => format!("{}-ca17-4{:03x}-8{:03x}-{:012x}", self.mark, n & 0xfff, (n >> 12) & 0xfff, n),
            "bool" => "false".to_owned(),
            "int2" => (20_000 + n % 10_000).to_string(),
            "int4" => (1_000_000_000 + (self.number % 1_000) * 1_000_000 + n % 1_000_000).to_string(),
            "int8" => format!("7{:09}{:08}", self.number % 1_000_000_000, n % 100_000_000),
            // As many digits before the point as the type has; many are made, few have little room.
            "numeric" if typmod >= 4 && ((typmod - 4) >> 16) - ((typmod - 4) & 0x7ff) < 9 => {
                (n % 9 + 1).to_string()
            }
            "numeric" | "float8" | "money" => (100_000_000 + n).to_string(),
            "float4" | "oid" => n.to_string(),
            "date" => format!("{:04}-{:02}-{:02}", 2001 + n / 336, n / 28 % 12 + 1, n % 28 + 1),
            "timestamp" | "timestamptz" => {
                format!("{:04}-{:02}-{:02} 00:00:00", 2001 + n / 336, n / 28 % 12 + 1, n % 28 + 1)
            }
            "time" | "timetz" => format!("{:02}:{:02}:00", n / 60 % 24, n % 60),
            "interval" => format!("{n} seconds"),
            "json" | "jsonb" => format!("{{\"canary\": \"canary-{}-{n}\"}}", self.mark),
            "bytea" => format!("\\x{}{n:08x}", self.mark),
            "inet" | "cidr" => format!("192.0.2.{}", n % 256),
            "macaddr" => {
                format!("02:00:00:{:02x}:{:02x}:{:02x}", (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff)
            }
            "bit" => "0".repeat(usize::try_from(typmod).unwrap_or(1)),
            "varbit" => "0".to_owned(),
            "xml" => format!("<canary>{n}</canary>"),
            "tsvector" | "ltree" => format!("canary{n}"),
            "point" => format!("({n},{n})"),
            "hstore" => String::new(),
            "vector" => format!("[{}]", vec!["0"; usize::try_from(typmod).unwrap_or(1)].join(",")),
            _ if category == 'A' => "{}".to_owned(),
            _ if category == 'R' && base.ends_with("multirange") => "{}".to_owned(),
            _ if category == 'R' => "empty".to_owned(),
            _ => return None,
        })
    }
}

/// What stands in quotes in an expression as Postgres prints it.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split('\'').skip(1).step_by(2)
}

/// A name as SQL writes it.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL writes it, whatever `standard_conforming_strings` is.
pub(super) fn text(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_are_known_again() {
        let [mut one, mut other] = ["0123abcd", "89abcdef"].map(Values::new);
        for base in ["text", "uuid", "int4", "int8", "json", "bytea"] {
            let [a, b, c] =
                [one.of(base, ' ', -1), one.of(base, ' ', -1), other.of(base, ' ', -1)].map(Option::unwrap);
            assert!(a != b && b != c && a != c, "{base}: {a} {b} {c}");
        }
        for base in ["text", "uuid", "int8", "json"] {
            let value = one.of(base, ' ', -1).unwrap();
            assert!(one.marks().iter().any(|mark| value.contains(mark)), "{base}: {value}");
            assert!(!other.marks().iter().any(|mark| value.contains(mark)), "{base}: {value}");
        }
    }

    #[test]
    fn a_value_fits_where_there_is_little_room() {
        let mut values = Values::new("0123abcd");
        for room in 1..40 {
            assert!(values.of("varchar", 'S', room + 4).unwrap().len() <= usize::try_from(room).unwrap());
        }
        // numeric(3,2)
        assert!(values.of("numeric", 'N', (3 << 16) + 2 + 4).unwrap().len() == 1);
        assert_eq!(values.of("bit", 'V', 3).unwrap(), "000");
        assert_eq!(values.of("some_extension", 'U', -1), None);
    }

    #[test]
    fn words_of_a_check_are_told() {
        let says = "CHECK (((state)::text = ANY (ARRAY['open'::text, 'closed'::text])))";
        assert_eq!(words(says).collect::<Vec<_>>(), ["open", "closed"]);
        assert_eq!(words("CHECK ((amount > 0))").count(), 0);
    }

    #[test]
    fn what_is_quoted_stays_within_its_quotes() {
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(text("a\\'b"), " E'a\\\\''b'");
    }
}
