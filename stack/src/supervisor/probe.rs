//! Whether a child does its work: asked over HTTP, or seen in the playlist it writes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::http;
use crate::stream::playlist;

const HTTP_TIMEOUT: Duration = Duration::from_secs(1);

/// How one child is asked for its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This URL answers 200.
    Http { url: String },
    /// This HLS playlist is complete (its init segment included) and was published lately.
    Playlist { path: PathBuf, age_max: Duration, segments_min: usize },
}

impl Probe {
    /// Asks once a child that was started at `started`; the error says what is wrong. Blocks for at
    /// most a second.
    pub fn ask(&self, started: SystemTime) -> Result<(), String> {
        match self {
            Self::Http { url } => match http::get(url, HTTP_TIMEOUT) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{url} answers {}", answer.status)),
                Err(error) => Err(format!("{url}: {error}")),
            },
            Self::Playlist { path, age_max, segments_min } => {
                playlist_is_live(path, *age_max, *segments_min, started)
            }
        }
    }
}

fn playlist_is_live(
    path: &Path,
    age_max: Duration,
    segments_min: usize,
    started: SystemTime,
) -> Result<(), String> {
    let unreadable = |error| format!("playlist {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let summary = playlist::summary(&text);
    if let Some(init) = &summary.init
        && !path.with_file_name(init).exists()
    {
        return Err(format!("its init segment {init} is missing"));
    }
    if summary.segments < segments_min {
        return Err(format!("{} of {segments_min} segments published", summary.segments));
    }
    let published = std::fs::metadata(path).and_then(|m| m.modified()).map_err(unreadable)?;
    // What its predecessor published says nothing about this process.
    if published < started {
        return Err("nothing published yet".to_owned());
    }
    // A clock set back makes an age negative: then the playlist counts as fresh.
    let age = SystemTime::now().duration_since(published).unwrap_or_default();
    if age > age_max {
        return Err(format!("no new segment for {:.1} s", age.as_secs_f32()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYLIST: &str = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:1.0,\na.m4s\n";

    #[test]
    fn a_playlist_is_live_when_complete_and_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.m3u8");
        let ask = |segments_min, age_max| {
            Probe::Playlist { path: path.clone(), age_max, segments_min }
                .ask(SystemTime::UNIX_EPOCH)
        };
        let minute = Duration::from_secs(60);
        assert!(ask(1, minute).unwrap_err().contains("No such file"));
        std::fs::write(&path, PLAYLIST).unwrap();
        assert_eq!(ask(1, minute).unwrap_err(), "its init segment init.mp4 is missing");
        std::fs::write(folder.path().join("init.mp4"), "x").unwrap();
        assert_eq!(ask(1, minute), Ok(()));
        assert_eq!(ask(3, minute).unwrap_err(), "1 of 3 segments published");
        let later = SystemTime::now() + minute;
        let probe = Probe::Playlist { path: path.clone(), age_max: minute, segments_min: 1 };
        assert_eq!(probe.ask(later).unwrap_err(), "nothing published yet");
        let old = SystemTime::now() - Duration::from_secs(90);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(ask(1, minute).unwrap_err().starts_with("no new segment for 90."));
    }

    #[test]
    fn an_http_probe_tells_status_and_refusal() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).unwrap() > 0);
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        let probe = Probe::Http { url: url.clone() };
        assert_eq!(probe.ask(SystemTime::now()), Ok(()));
        assert_eq!(probe.ask(SystemTime::now()), Err(format!("{url} answers 503")));
        server.join().unwrap();
        assert!(probe.ask(SystemTime::now()).is_err());
    }
}
