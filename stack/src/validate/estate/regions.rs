//! Regions: how AWS writes them, and words that are in no region's name. Which there are today is not decided
//! here: [`crate::estate::unknown`] says what it does not know.

use proxy_config::suggest;

use super::{Fault, fault};

/// Where in a part of the world a region is. Parts of the world have two letters, of which there may be more.
const PLACES: [&str; 9] = [
    "north",
    "south",
    "east",
    "west",
    "central",
    "northeast",
    "northwest",
    "southeast",
    "southwest",
];

/// Whether a text is written as regions are.
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase());
    let number = parts.last().is_some_and(|last| last.parse::<u8>().is_ok());
    parts.len() >= 3 && number && parts[..parts.len() - 1].iter().all(letters)
}

pub(super) fn fault_of(key: &str, region: &str) -> Option<Fault> {
    if !is_region(region) {
        let message = format!("`{region}` is not a region");
        return Some(fault(key, message, "write it as AWS does: `eu-central-1`"));
    }
    let place = region.rsplit('-').nth(1).filter(|place| !PLACES.contains(place))?;
    let message = format!("`{region}` is not a region: there is no `{place}`");
    let hint = match suggest::closest(place, PLACES) {
        Some(meant) => format!("did you mean `{}`?", region.replace(place, meant)),
        None => "write it as AWS does: `eu-central-1`".to_owned(),
    };
    Some(fault(key, message, &hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_regions_are_told_from_new_ones() {
        for region in ["eu-central-1", "us-gov-west-1", "ap-southeast-9", "nz-north-1"] {
            assert_eq!(fault_of("region", region), None, "{region}");
        }
        let (_, message, hint) = fault_of("region", "eu-cental-1").unwrap();
        assert_eq!(message, "`eu-cental-1` is not a region: there is no `cental`");
        assert_eq!(hint, "did you mean `eu-central-1`?");
    }
}
