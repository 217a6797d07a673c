//! Which of scriptr's built-in names a script's text mentions. It is looked at once for each text,
//! because each call begins with it.

/// What scripts find without `require`.
pub const GLOBALS: [&str; 6] = [
    "storage",
    "subscribe",
    "schedule",
    "unschedule",
    "isIdInAcl",
    "configuration",
];
/// scriptr's built-in functions that callway has not: to touch one throws.
pub const MISSING: [&str; 8] = [
    "isGroupInAcl",
    "runAs",
    "sendMail",
    "jsonToXml",
    "xmlToJson",
    "push",
    "pushToGroup",
    "tweet",
];

/// A bit for each name, first those of [`GLOBALS`], then those of [`MISSING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mentions(pub u32);

impl Mentions {
    /// Of a script's text.
    pub fn of(source: &[u8]) -> Mentions {
        // What is not UTF-8 does not compile.
        let source = std::str::from_utf8(source).unwrap_or_default();
        let names = GLOBALS.iter().chain(&MISSING).enumerate();
        let bits = names.filter(|(_, name)| source.contains(**name));
        Mentions(bits.fold(0, |bits, (at, _)| bits | (1 << at)))
    }
}

#[cfg(feature = "js")]
impl Mentions {
    /// Those of [`GLOBALS`].
    pub fn globals(self) -> impl Iterator<Item = &'static str> {
        self.among(&GLOBALS, 0)
    }

    /// Those of [`MISSING`].
    pub fn missing(self) -> impl Iterator<Item = &'static str> {
        self.among(&MISSING, GLOBALS.len())
    }

    fn among(self, names: &'static [&str], from: usize) -> impl Iterator<Item = &'static str> {
        let bits = self.0 >> from;
        let names = names.iter().enumerate();
        names.filter_map(move |(at, name)| ((bits >> at) & 1 == 1).then_some(*name))
    }
}

#[cfg(all(test, feature = "js"))]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found() {
        for name in GLOBALS {
            let found = Mentions::of(format!("x = {name};").as_bytes());
            assert!(found.globals().any(|found| found == name), "{name}");
            assert_eq!(found.missing().next(), None);
        }
        for name in MISSING {
            let found = Mentions::of(name.as_bytes());
            assert!(found.missing().any(|found| found == name), "{name}");
            assert_eq!(found.globals().next(), None);
        }
        for text in [&b""[..], b"return 1;", b"\xffstorage"] {
            assert_eq!(Mentions::of(text), Mentions(0));
        }
    }
}
