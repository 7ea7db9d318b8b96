//! What is in a directory, as a page or as data: names in order, directories first, none that begins with a dot.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proxy_config::proved::url_escaped;
use proxy_config::route_action::{Listing, ListingFormat};
use rustix::fs::{AtFlags, Dir, FileType, statat};

/// Entries of one directory that are shown.
const ENTRIES_MAX: usize = 100_000;
/// Columns that names have in HTML.
const NAME_COLUMNS: usize = 50;

/// One thing in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_directory: bool,
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
}

/// What is in an open directory. Blocks on the disk.
pub fn read(directory: &File) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in Dir::read_from(directory.as_fd())? {
        let found = found?;
        let name = found.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            tracing::warn!("a directory holds more than is shown of one");
            break;
        }
        // A link is what it leads to; one that leads nowhere is itself.
        let about = statat(directory, name, AtFlags::empty())
            .or_else(|_| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW));
        let Ok(about) = about else { continue };
        entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            is_directory: FileType::from_raw_mode(about.st_mode) == FileType::Directory,
            size: u64::try_from(about.st_size).unwrap_or(0),
            modified: about.st_mtime,
        });
    }
    entries.sort_by(|one, other| {
        other.is_directory.cmp(&one.is_directory).then_with(|| one.name.cmp(&other.name))
    });
    Ok(entries)
}

/// Media type and text of a listing. `path` is that of the request, without escapes.
pub fn show(entries: &[Entry], how: &Listing, path: &str, query: &str) -> (&'static str, String) {
    match how.format {
        ListingFormat::Html => ("text/html", html(entries, how, path)),
        ListingFormat::Json => ("application/json", json(entries)),
        ListingFormat::Xml => ("text/xml; charset=utf-8", xml(entries)),
        ListingFormat::Jsonp => match callback(query) {
            Some(name) => {
                ("application/javascript", format!("/* callback */\r\n{name}({});", json(entries)))
            }
            None => ("application/javascript", json(entries)),
        },
    }
}

/// The function that the page wants to be called; one that is no name is none.
fn callback(query: &str) -> Option<&str> {
    let name = query.split('&').find_map(|pair| pair.strip_prefix("callback="))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    (!name.is_empty() && name.bytes().all(legal)).then_some(name)
}

fn time(entry: &Entry, local: bool) -> jiff::Zoned {
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    Timestamp::from_second(entry.modified).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone)
}

fn html(entries: &[Entry], how: &Listing, path: &str) -> String {
    let title = escaped(path);
    let mut page = format!(
        "<html>\r\n<head><title>Index of {title}</title></head>\r\n<body>\r\n<h1>Index of \
         {title}</h1><hr><pre><a href=\"../\">../</a>\r\n"
    );
    for entry in entries {
        let slash = if entry.is_directory { "/" } else { "" };
        let shown = format!("{}{slash}", entry.name);
        let (text, columns) = match shown.chars().count() {
            count if count <= NAME_COLUMNS => (escaped(&shown), count),
            _ => {
                let start: String = shown.chars().take(NAME_COLUMNS - 3).collect();
                (format!("{}..&gt;", escaped(&start)), NAME_COLUMNS)
            }
        };
        let link = format!("{}{slash}", url_escaped(&entry.name));
        let time = time(entry, how.local_time).strftime("%d-%b-%Y %H:%M").to_string();
        let size = match (entry.is_directory, how.rounded_sizes) {
            (true, false) => format!("{:>19}", "-"),
            (true, true) => format!("{:>7}", "-"),
            (false, false) => format!("{:>19}", entry.size),
            (false, true) => rounded(entry.size),
        };
        let pad = " ".repeat(NAME_COLUMNS - columns);
        // Writing to a String cannot fail.
        let _ = write!(page, "<a href=\"{link}\">{text}</a>{pad} {time} {size}\r\n");
    }
    page + "</pre><hr></body>\r\n</html>\r\n"
}

fn rounded(size: u64) -> String {
    let in_units = |unit: u64| size / unit + u64::from(size % unit >= unit / 2);
    match size {
        size if size < 10_000 => format!(" {size:>6}"),
        size if size < 1 << 20 => format!("{:>6}K", in_units(1 << 10)),
        size if size < 1 << 30 => format!("{:>6}M", in_units(1 << 20)),
        _ => format!("{:>6}G", in_units(1 << 30)),
    }
}

fn json(entries: &[Entry]) -> String {
    let rows = entries.iter().map(|entry| {
        let name = serde_json::Value::from(entry.name.as_str());
        let time = time(entry, false).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        match entry.is_directory {
            true => format!("{{ \"name\":{name}, \"type\":\"directory\", \"mtime\":\"{time}\" }}"),
            false => format!(
                "{{ \"name\":{name}, \"type\":\"file\", \"mtime\":\"{time}\", \"size\":{} }}",
                entry.size
            ),
        }
    });
    format!("[\r\n{}\r\n]", rows.collect::<Vec<_>>().join(",\r\n"))
}

fn xml(entries: &[Entry]) -> String {
    let mut text = String::from("<?xml version=\"1.0\"?>\r\n<list>\r\n");
    for entry in entries {
        let name = escaped(&entry.name);
        let time = time(entry, false).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        // Writing to a String cannot fail.
        let _ = match entry.is_directory {
            true => write!(text, "<directory mtime=\"{time}\">{name}</directory>\r\n"),
            false => {
                write!(text, "<file mtime=\"{time}\" size=\"{}\">{name}</file>\r\n", entry.size)
            }
        };
    }
    text + "</list>\r\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b\"<>&"), "x".repeat(42)).unwrap();
        std::fs::write(dir.path().join(".hidden"), "").unwrap();
        std::fs::create_dir(dir.path().join("z")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("z"), dir.path().join("a")).unwrap();
        let mut entries = read(&File::open(dir.path()).unwrap()).unwrap();
        entries.iter_mut().for_each(|entry| entry.modified = 0);
        entries
    }

    fn shown(format: ListingFormat, query: &str) -> String {
        let how = Listing { format, local_time: false, rounded_sizes: false };
        show(&entries(), &how, "/x<y>/", query).1
    }

    #[test]
    fn directories_come_first_and_nothing_can_break_out_of_its_place() {
        let html = shown(ListingFormat::Html, "");
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}: {html}"));
        assert!(at("<h1>Index of /x&lt;y&gt;/</h1>") < at("<a href=\"a/\">a/</a>"));
        assert!(at(">z/<") < at("<a href=\"b%22%3C%3E%26\">b&quot;&lt;&gt;&amp;</a>"));
        assert!(html.contains(" 01-Jan-1970 00:00                  42\r\n"), "{html}");
        assert!(!html.contains("hidden"));
        let json: serde_json::Value =
            serde_json::from_str(&shown(ListingFormat::Json, "")).unwrap();
        assert_eq!(json[2]["name"], "b\"<>&");
        assert_eq!((&json[2]["size"], json[0].get("size")), (&serde_json::json!(42), None));
        let xml = shown(ListingFormat::Xml, "");
        assert!(xml.contains(
            "<file mtime=\"1970-01-01T00:00:00Z\" size=\"42\">b&quot;&lt;&gt;&amp;</file>"
        ));
    }

    #[test]
    fn only_a_name_is_called() {
        assert!(shown(ListingFormat::Jsonp, "x=1&callback=a.b").contains("a.b([\r\n"));
        for query in ["", "callback=", "callback=alert(1)", "callback=%61"] {
            assert!(shown(ListingFormat::Jsonp, query).starts_with("[\r\n"), "{query}");
        }
    }

    #[test]
    fn sizes_are_rounded_to_units() {
        for (size, text) in
            [(9_999, "   9999"), (10_240, "    10K"), (1_572_864, "     2M"), (1 << 31, "     2G")]
        {
            assert_eq!(rounded(size), text);
        }
    }
}
