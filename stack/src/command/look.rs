//! How often the commands that follow CloudFormation look at it.

use std::time::Duration;

use clap::Args;
use proxy_config::units;

/// How often to look.
#[derive(Debug, Args)]
pub(super) struct Look {
    /// Time between two looks at CloudFormation, 10ms to 1m; it throttles those who look often
    #[arg(long = "look", value_name = "TIME", default_value = "2500ms", value_parser = time)]
    pub every: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    let time: units::Duration =
        text.parse().map_err(|_| "write a number and a unit: `500ms`, `5s`".to_owned())?;
    match time.as_millis() {
        ms @ 10..=60_000 => Ok(Duration::from_millis(ms)),
        _ => Err("it may be 10ms to 1m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_time_is_told_not_passed_over() {
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "5", "fast", "-1s", "1ms", "2m"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
