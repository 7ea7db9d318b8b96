//! Quantities with units: what is read, what is refused with which hint, what is written.

use proptest::prelude::*;

use proxy_config::units::{ByteRate, ByteSize, Duration, Per, Percent, Rate};

#[test]
fn quantities_are_read_and_written_in_canonical_form() {
    let sizes = [
        ("0", 0, "0B"),
        ("4096", 4096, "4KiB"),
        ("512B", 512, "512B"),
        ("64MiB", 64 << 20, "64MiB"),
        ("65536KiB", 64 << 20, "64MiB"),
        ("10MB", 10_000_000, "10MB"),
        ("1000KB", 1_000_000, "1MB"),
        ("3TiB", 3 << 40, "3TiB"),
    ];
    for (text, bytes, canonical) in sizes {
        let size: ByteSize = text.parse().expect(text);
        assert_eq!((size.as_bytes(), size.to_string().as_str()), (bytes, canonical), "{text}");
    }
    let times = [
        ("250ms", 250, "250ms"),
        ("1000ms", 1000, "1s"),
        ("60s", 60_000, "1m"),
        ("90s", 90_000, "90s"),
        ("24h", 86_400_000, "1d"),
        ("0ms", 0, "0s"),
    ];
    for (text, millis, canonical) in times {
        let time: Duration = text.parse().expect(text);
        assert_eq!((time.as_millis(), time.to_string().as_str()), (millis, canonical), "{text}");
    }
    let percents = [("50%", 5000, "50%"), ("0.5%", 50, "0.5%"), ("12.25%", 1225, "12.25%")];
    for (text, hundredths, canonical) in percents {
        let percent: Percent = text.parse().expect(text);
        assert_eq!((percent.hundredths(), percent.to_string().as_str()), (hundredths, canonical));
    }
    assert_eq!("6000/m".parse(), Ok(Rate { count: 6000, per: Per::Minute }));
    assert_eq!("5MB/s".parse(), Ok(ByteRate(ByteSize::bytes(5_000_000))));
}

#[test]
fn wrong_quantities_say_what_to_write() {
    let sizes = ["", "MiB", "64M", "64mb", "1.5GiB", "-1", "1 KiB", "16777216TiB", "٣KiB"];
    for text in sizes {
        text.parse::<ByteSize>().expect_err(text);
    }
    assert_eq!(
        "64M".parse::<ByteSize>().expect_err("no unit").hint,
        "write `64MiB` (powers of 1024) or `64MB` (powers of 1000)"
    );
    for text in ["", "5", "5sec", "s", "1h30m", "-1s", "18446744073709551615s", "1.5s"] {
        text.parse::<Duration>().expect_err(text);
    }
    assert_eq!("5".parse::<Duration>().expect_err("no unit").hint, "write `5s`, `5ms` or `5m`");
    for text in ["", "100", "100/d", "/s", "-1/s", "1.5/s", "100 / s"] {
        text.parse::<Rate>().expect_err(text);
    }
    for text in ["", "50", "101%", "100.01%", "0.005%", "-1%", "%", ".5%", "5.%"] {
        text.parse::<Percent>().expect_err(text);
    }
    for text in ["5MB", "MB/s", "5/s/s"] {
        text.parse::<ByteRate>().expect_err(text);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(bytes: u64, millis: u64, count: u64, share in 0u16..=10_000) {
        let size = ByteSize::bytes(bytes);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
        prop_assert_eq!(ByteRate(size).to_string().parse(), Ok(ByteRate(size)));
        let time = Duration::millis(millis);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        for per in [Per::Second, Per::Minute, Per::Hour] {
            let rate = Rate { count, per };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        let percent: Percent =
            format!("{}.{:02}%", share / 100, share % 100).parse().expect("a percentage");
        prop_assert_eq!(percent.hundredths(), share);
        prop_assert_eq!(percent.to_string().parse(), Ok(percent));
    }

    #[test]
    fn no_text_makes_a_quantity_panic(text: String) {
        let _ = text.parse::<ByteSize>();
        let _ = text.parse::<Duration>();
        let _ = text.parse::<Rate>();
        let _ = text.parse::<ByteRate>();
        let _ = text.parse::<Percent>();
    }
}
