//! The live streams of this machine: what ffmpeg is told, and which ffmpeg it is.

pub mod playlist;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::environment::Stream;

/// The playlist every stream writes into its folder.
pub const PLAYLIST: &str = "index.m3u8";

/// The ffmpeg of this machine, as far as the command line depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ffmpeg {
    /// The program.
    pub path: PathBuf,
    /// A font, where this ffmpeg can draw text: then the picture has a clock.
    pub clock_font: Option<PathBuf>,
}

/// Why there is no ffmpeg to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FfmpegMissing {
    /// The environment has no streams.
    #[error("no stream is asked for")]
    NotNeeded,
    /// Nothing of that name is there.
    #[error("ffmpeg is not installed; install it with: {install}")]
    NotInstalled { install: &'static str },
    /// The path a person gave leads nowhere.
    #[error("there is no ffmpeg at {}", .0.display())]
    NotThere(PathBuf),
    /// It is there and cannot make the stream.
    #[error("{} cannot encode {missing}; install a full build with: {install}", .path.display())]
    Unable { path: PathBuf, missing: String, install: &'static str },
}

const INSTALL: &str = if cfg!(target_os = "macos") {
    "brew install ffmpeg"
} else {
    "sudo apt-get install --yes ffmpeg"
};

/// Where distributions keep a font that has digits.
const FONTS: [&str; 5] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationMono-Regular.ttf",
    "/usr/share/fonts/dejavu-sans-mono-fonts/DejaVuSansMono.ttf",
    "/System/Library/Fonts/Menlo.ttc",
];

impl Ffmpeg {
    /// Finds ffmpeg (`chosen`, else on PATH) and asks what it can do. Runs it twice.
    pub fn find(chosen: Option<&Path>) -> Result<Self, FfmpegMissing> {
        let path = match chosen {
            Some(path) if path.is_file() => path.to_owned(),
            Some(path) => return Err(FfmpegMissing::NotThere(path.to_owned())),
            None => crate::programs::on_path("ffmpeg")
                .ok_or(FfmpegMissing::NotInstalled { install: INSTALL })?,
        };
        let encoders = list(&path, "-encoders");
        for missing in ["libx264", "aac"] {
            if !has(&encoders, missing) {
                let missing = missing.to_owned();
                return Err(FfmpegMissing::Unable { path, missing, install: INSTALL });
            }
        }
        let draws = has(&list(&path, "-filters"), "drawtext");
        let font = FONTS.iter().map(PathBuf::from).find(|font| font.exists());
        Ok(Self { path, clock_font: font.filter(|_| draws) })
    }
}

fn list(ffmpeg: &Path, what: &str) -> String {
    let output = Command::new(ffmpeg)
        .args(["-hide_banner", "-loglevel", "error", what])
        .stdin(Stdio::null())
        .output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// ffmpeg's lists are lines of flags, a name and a description.
fn has(list: &str, name: &str) -> bool {
    list.lines().any(|line| line.split_whitespace().nth(1) == Some(name))
}

/// The two command lines of a stream: the first, and the one that continues an existing playlist.
/// Both run in the stream's own folder.
pub fn argv(ffmpeg: &Ffmpeg, name: &str, stream: &Stream) -> (Vec<String>, Vec<String>) {
    // Numbers from the clock: a segment's name is never used twice, not even by the next `up`.
    let first = argv_with(ffmpeg, name, stream, &["-hls_start_number_source", "epoch"], "");
    // After a restart the sequence goes on and a discontinuity is marked, so that players recover.
    let again = argv_with(ffmpeg, name, stream, &[], "+append_list");
    (first, again)
}

fn argv_with(
    ffmpeg: &Ffmpeg,
    name: &str,
    stream: &Stream,
    numbering: &[&str],
    flags: &str,
) -> Vec<String> {
    let Stream { width, height, frames_per_second: rate, window, bitrate_kbit, .. } = stream;
    let segment_ms = stream.segment.as_millis();
    let frames = u64::from(*rate) * segment_ms / 1000;
    let segment_s = format!("{}.{:03}", segment_ms / 1000, segment_ms % 1000);
    let text = |arguments: &str| -> Vec<String> {
        arguments.split_whitespace().map(str::to_owned).collect()
    };
    let mut argv = vec![ffmpeg.path.display().to_string()];
    argv.extend(text("-hide_banner -nostats -loglevel warning -nostdin"));
    argv.extend(text(&format!("-re -f lavfi -i testsrc2=size={width}x{height}:rate={rate}")));
    argv.extend(text("-re -f lavfi -i sine=frequency=220:beep_factor=4:sample_rate=48000"));
    if let Some(font) = &ffmpeg.clock_font {
        argv.extend(["-vf".to_owned(), clock(font, name, *height)]);
    }
    argv.extend(text("-af volume=0.3 -c:v libx264 -preset ultrafast -tune zerolatency"));
    argv.extend(text("-pix_fmt yuv420p -sc_threshold 0 -threads 1"));
    argv.extend(text(&format!("-g {frames} -keyint_min {frames}")));
    argv.extend(text(&format!(
        "-b:v {bitrate_kbit}k -maxrate {bitrate_kbit}k -bufsize {bitrate_kbit}k"
    )));
    argv.extend(text("-c:a aac -b:a 96k -f hls -hls_segment_type fmp4"));
    argv.extend(text(&format!("-hls_time {segment_s} -hls_list_size {window}")));
    argv.extend(text("-hls_fmp4_init_filename init.mp4 -hls_segment_filename segment-%d.m4s"));
    argv.extend(numbering.iter().map(|argument| (*argument).to_owned()));
    // Without an end mark a stopped ffmpeg looks like a pause, and players wait for its successor.
    argv.extend(text(&format!(
        "-hls_flags delete_segments+independent_segments+program_date_time+temp_file\
         +omit_endlist{flags}"
    )));
    argv.push(PLAYLIST.to_owned());
    argv
}

/// Removes what a killed ffmpeg left in the folder of its stream and its successor would not know
/// of: segments outside the playlist, and unfinished files. Call it while no ffmpeg writes there.
pub fn sweep(folder: &Path) -> io::Result<()> {
    let playlist = match fs::read_to_string(folder.join(PLAYLIST)) {
        Ok(playlist) => playlist,
        // It died before its first playlist: then everything there is left over.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let listed: BTreeSet<&str> = playlist.lines().collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let unlisted = name.starts_with("segment-") && !listed.contains(&*name);
        if unlisted || name.ends_with(".tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A drawtext filter with the stream's name and the time of day.
fn clock(font: &Path, name: &str, height: u32) -> String {
    let font = font.display().to_string().replace('\\', "\\\\").replace(':', "\\:");
    let size = height / 9;
    format!(
        "drawtext=fontfile='{font}':text='{name}  %{{localtime\\:%H\\\\\\:%M\\\\\\:%S}}':\
         fontsize={size}:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw={border}:\
         x=(w-tw)/2:y=h-th-{size}",
        border = size / 4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ffmpeg(font: Option<&str>) -> Ffmpeg {
        Ffmpeg { path: "/usr/bin/ffmpeg".into(), clock_font: font.map(PathBuf::from) }
    }

    fn value<'a>(argv: &'a [String], option: &str) -> Option<&'a str> {
        let at = argv.iter().position(|argument| argument == option)?;
        argv.get(at + 1).map(String::as_str)
    }

    #[test]
    fn every_segment_starts_with_a_key_frame() {
        let stream = Stream { frames_per_second: 30, ..Stream::default() };
        let (argv, _) = argv(&ffmpeg(None), "clock", &stream);
        assert_eq!(value(&argv, "-g"), Some("30"));
        assert_eq!(value(&argv, "-keyint_min"), Some("30"));
        assert_eq!(value(&argv, "-hls_time"), Some("1.000"));
        assert_eq!(value(&argv, "-hls_list_size"), Some("10"));
        assert_eq!(value(&argv, "-vf"), None);
    }

    #[test]
    fn only_a_restart_continues_the_playlist() {
        let (first, again) = argv(&ffmpeg(None), "clock", &Stream::default());
        assert_eq!(value(&first, "-hls_start_number_source"), Some("epoch"));
        assert!(!value(&first, "-hls_flags").unwrap().contains("append_list"));
        assert_eq!(value(&again, "-hls_start_number_source"), None);
        assert!(value(&again, "-hls_flags").unwrap().contains("append_list"));
    }

    #[test]
    fn the_clock_is_drawn_where_there_is_a_font() {
        let (argv, _) = argv(&ffmpeg(Some("/fonts/a:b.ttf")), "clock", &Stream::default());
        let filter = value(&argv, "-vf").unwrap();
        assert!(
            filter.starts_with("drawtext=fontfile='/fonts/a\\:b.ttf':text='clock "),
            "{filter}"
        );
    }

    #[test]
    fn capabilities_are_read_from_the_lists() {
        let list = "Encoders:\n ------\n V....D libx264   libx264 H.264\n A....D aac   AAC\n";
        assert!(has(list, "libx264") && has(list, "aac"));
        assert!(!has(list, "H.264"));
    }

    #[test]
    fn a_sweep_keeps_what_the_playlist_lists() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap().flatten();
            entries.map(|e| e.file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
        };
        for name in ["init.mp4", "segment-1.m4s", "segment-2.m4s", "segment-3.m4s.tmp"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join(PLAYLIST), "#EXTM3U\n#EXTINF:1,\nsegment-2.m4s\n").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(names(), ["index.m3u8", "init.mp4", "segment-2.m4s"].map(String::from).into());
        fs::remove_file(folder.path().join(PLAYLIST)).unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(names(), ["init.mp4"].map(String::from).into());
    }

    #[test]
    fn a_chosen_ffmpeg_that_is_not_there_is_said() {
        let error = Ffmpeg::find(Some(Path::new("/nowhere/ffmpeg"))).unwrap_err();
        assert_eq!(error.to_string(), "there is no ffmpeg at /nowhere/ffmpeg");
    }
}
