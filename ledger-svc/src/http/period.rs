//! Times, days and periods as parameters have them.

use jiff::Timestamp;
use jiff::civil::Date;

use super::problem::{Kind, Problem};
use crate::as_of::AsOf;
use crate::store::Period;
use crate::when;

/// Exactly one of the two.
pub fn as_of(booked: Option<String>, effective: Option<&str>) -> Result<AsOf, Problem> {
    match (time("booked_before", booked)?, date("effective_through", effective)?) {
        (Some(at), None) => Ok(AsOf::BookedBefore(at)),
        (None, Some(date)) => Ok(AsOf::EffectiveThrough(date)),
        (None, None) | (Some(_), Some(_)) => Err(Problem::new(
            Kind::InvalidParameter,
            "give either booked_before or effective_through",
        )),
    }
}

/// A time of booking from and to.
pub fn period(from: Option<String>, to: Option<String>) -> Result<Period, Problem> {
    let period = Period { from: time("from", from)?, to: time("to", to)? };
    if let (Some(from), Some(to)) = (period.from, period.to)
        && from > to
    {
        return Err(Problem::new(Kind::InvalidParameter, "from is later than to"));
    }
    Ok(period)
}

fn time(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    when::time(&text).map(Some).ok_or_else(|| {
        let how = when::TIME;
        let detail =
            format!("{name} is neither a date nor a time; {how}, and an offset's + as %2B");
        Problem::new(Kind::InvalidParameter, detail)
    })
}

/// A calendar date, if there is one.
pub fn date(name: &str, text: Option<&str>) -> Result<Option<Date>, Problem> {
    let Some(text) = text else { return Ok(None) };
    when::day(text).map(Some).ok_or_else(|| {
        let detail = format!("{name} is not a calendar date; {}", when::DAY);
        Problem::new(Kind::InvalidParameter, detail)
    })
}
