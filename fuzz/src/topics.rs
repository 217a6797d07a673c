//! Topics, filters, names and grants, beside the plainest way to say the same.

use std::path::Path;
use std::sync::LazyLock;

use callway::config;
use callway::dialect::mqtt::topic::{
    channel_of, filter_of, is_filter, is_topic, matches, overlap, patterns_of, topic_of,
};
use callway::ingress::Names;
use callway::router::{Pattern, check_channel};

/// Few letters, so that texts have something in common; the last one ends a text.
const LETTERS: &[u8; 16] = b"aabb//+#%$x{}..\n";

/// Rows with a topic of their own on a bus, of which one shifts its levels and one is a single
/// topic.
const ROWS: &str = r#"
[bus.b]
url = "mqtt://127.0.0.1:1"
[[channel]]
name = "a/{x}"
mqtt = { bus = "b", topic = "b/{x}/a", direction = "out" }
[[channel]]
name = "b/{x...}"
mqtt = { bus = "b", topic = "x/{x}", direction = "out" }
[[channel]]
name = "x"
mqtt = { bus = "b", topic = "a/x", direction = "out" }
[[channel]]
name = "{x...}"
"#;

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let parsed = config::parse(ROWS, Path::new("."));
    Names::of(&parsed.unwrap_or_else(|errors| panic!("{errors}")))
});

/// Matching is what the standard says; and what a filter may bring is neither more nor less than
/// what grants and filter both take.
pub fn check(data: &[u8]) {
    if data.len() > 256 {
        return;
    }
    let letters = data.iter().map(|byte| LETTERS[usize::from(byte % 16)]);
    let text: String = letters.map(char::from).collect();
    let mut texts = text.split('\n').chain(std::iter::repeat("a"));
    let mut next = || texts.next().unwrap_or_default();
    let (one, other, topic, channel) = (next(), next(), next(), next());
    let granted = Pattern::parse(next());
    matching(one, other, topic);
    if check_channel(channel).is_err() {
        return;
    }
    if let (true, Ok(granted)) = (is_filter(one), &granted) {
        narrowing(one, granted, channel);
    }
    if let (Ok(wide), Ok(narrow)) = (&granted, Pattern::parse(next()))
        && wide.covers(&narrow)
        && narrow.matches(channel)
    {
        assert!(wide.matches(channel), "{wide} covers {narrow}: {channel}");
    }
}

fn matching(one: &str, other: &str, topic: &str) {
    for filter in [one, other] {
        assert_eq!(is_filter(filter), naive_filter(filter), "{filter}");
    }
    if is_filter(one) && is_topic(topic) {
        assert_eq!(matches(one, topic), naive(one, topic), "{one} {topic}");
    }
    if is_filter(one) && is_filter(other) {
        let both = overlap(one, other);
        assert_eq!(both, overlap(other, one), "{one} {other}");
        if is_topic(topic) && matches(one, topic) && matches(other, topic) {
            assert!(both, "{one} {other}: {topic}");
        }
    }
}

fn narrowing(filter: &str, granted: &Pattern, channel: &str) {
    let names = &*NAMES;
    let name = topic_of(channel);
    assert_eq!(channel_of(&name), channel, "{name}");
    let row_topic = names.topics(channel).next();
    if let Some(topic) = &row_topic {
        assert_eq!(names.channel(topic), channel, "{topic}");
    }
    let by_name = matches(filter, &name);
    if by_name {
        let patterns = patterns_of(filter);
        let heard = patterns.iter().any(|pattern| pattern.matches(channel));
        assert!(heard, "{filter} takes the name of {channel}");
    }
    let by_topic = row_topic.is_some_and(|topic| matches(filter, &topic));
    if by_name || by_topic {
        let patterns = names.patterns(filter);
        let heard = patterns.iter().any(|pattern| pattern.matches(channel));
        assert!(heard, "{filter} takes {channel}");
        if granted.matches(channel) {
            let grants = std::slice::from_ref(granted);
            let touched = names.touches(&channel_of(filter), grants);
            assert!(touched, "{filter} takes {channel}, which {granted} grants");
        }
    }
    if granted.matches(channel) && !channel.starts_with('$') {
        assert!(matches(&filter_of(granted), channel), "{granted} {channel}");
    }
}

/// §4.7.1, character by character.
fn naive_filter(filter: &str) -> bool {
    let letters: Vec<char> = filter.chars().collect();
    let edge = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_none_or(|c| *c == '/');
    let fits = letters.iter().enumerate().all(|(at, c)| match c {
        '+' => edge(at.checked_sub(1)) && edge(Some(at + 1)),
        '#' => edge(at.checked_sub(1)) && at + 1 == letters.len(),
        _ => true,
    });
    fits && !letters.is_empty()
}

/// §4.7.1 and §4.7.2, level by level.
fn naive(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([one, filter @ ..], [other, topic @ ..]) => one == other && levels(filter, topic),
            _ => false,
        }
    }
    let own = topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
    let split = |text| str::split(text, '/').collect::<Vec<_>>();
    !own && levels(&split(filter), &split(topic))
}
