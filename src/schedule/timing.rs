//! When something is due: at a date, or again and again by a cron expression.

use croner::Cron;
use croner::parser::CronParser;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The next time after `now`, both in Unix milliseconds; `None` if there is none any more. A date is
/// ISO 8601 with its offset; cron expressions have five fields, or six with seconds in front, and
/// count in UTC.
///
/// The error says why the text is neither.
pub fn next(text: &str, now: u64) -> Result<Option<u64>, String> {
    if let Ok(date) = text.trim().parse::<Timestamp>() {
        let due = u64::try_from(date.as_millisecond()).unwrap_or(0);
        return Ok((due > now).then_some(due));
    }
    let cron = cron(text)?;
    let now = i64::try_from(now)
        .ok()
        .and_then(|now| Timestamp::from_millisecond(now).ok())
        .ok_or("the clock is out of range")?;
    // An expression may name a day that never comes.
    let next = cron.find_next_occurrence(&now.to_zoned(TimeZone::UTC), false);
    let next = next.ok().map(|next| next.timestamp().as_millisecond());
    Ok(next.and_then(|next| u64::try_from(next).ok()))
}

fn cron(text: &str) -> Result<Cron, String> {
    // `0/5`, as it is often written.
    let parser = CronParser::builder().sloppy_ranges(true).build();
    parser.parse(text.trim()).map_err(|error| {
        format!(
            "{text:?} is neither a date such as 2026-12-24T18:00:00Z nor a cron expression: {error}"
        )
    })
}

/// Whether the text stands for one moment.
pub fn is_once(text: &str) -> bool {
    text.trim().parse::<Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond() as u64
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-12-24",
            "61 * * * *",
            "* * *",
            "* * * * MOON",
        ] {
            assert!(next(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_is_due_once() {
        let date = "2015-09-08T14:28:41.093Z";
        assert_eq!(next(date, 0), Ok(Some(ms(date))));
        assert_eq!(next(date, ms(date)), Ok(None), "it has passed");
        let offset = "2026-12-24T18:00:00+02:00";
        assert_eq!(next(offset, 0), Ok(Some(ms("2026-12-24T16:00:00Z"))));
        assert!(is_once(date) && !is_once("* * * * *"));
    }

    #[test]
    fn cron_goes_on() {
        let friday = ms("2026-11-27T08:00:00Z");
        let next = |text| next(text, friday).unwrap().unwrap();
        assert_eq!(next("30 7 ? * MON-FRI"), ms("2026-11-30T07:30:00Z"));
        assert_eq!(next("0/15 * * * *"), ms("2026-11-27T08:15:00Z"));
        assert_eq!(next("* * * * * *"), ms("2026-11-27T08:00:01Z"));
    }
}
