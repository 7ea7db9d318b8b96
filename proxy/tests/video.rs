//! Video on the wire: freshness by role, segments asked for ahead, LL-HLS reloads, what players tell.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use crate::caching::{answer, ask, cached, status};
use crate::client::{Client, Response};
use crate::harness::{PATIENCE, Proxy, eventually, upstream};
use crate::origin::Origin;

const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2000\n#EXT-X-MEDIA-SEQUENCE:7\n\
                    #EXTINF:20,\ns7.ts\n#EXTINF:20,\ns8.ts\n#EXTINF:20,\ns9.ts\n";
const FILM: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXTINF:20,\n1.ts\n#EXTINF:20,\n2.ts?t=1\n\
                    #EXTINF:20,\n3.ts\n#EXT-X-ENDLIST\n";

/// An origin that says nothing about freshness.
fn silent() -> Origin {
    Origin::start(|exchange| {
        let body = match exchange.target().split('?').next().unwrap() {
            "/live/x.m3u8" => LIVE,
            "/film/x.m3u8" => FILM,
            "/master.m3u8" => "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlive/x.m3u8\n",
            "/x.mpd" => "<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT4000S\"/>",
            "/broken.m3u8" => "#EXTM3U\n#EXT-X-TARGETDURATION:often\n",
            _ => "media",
        };
        answer(exchange, "", body)
    })
}

/// Less the time that a busy machine takes.
fn assert_fresh_for(hit: &Response, seconds: i64) {
    let ttl = status(hit).strip_prefix("forebay; hit; ttl=").and_then(|ttl| ttl.parse().ok());
    assert!(ttl.is_some_and(|ttl: i64| (seconds - 60..=seconds).contains(&ttl)), "{hit:?}");
}

fn asked(origin: &Origin) -> Vec<String> {
    let target = |head: String| head.split(' ').nth(1).unwrap().to_owned();
    origin.heads().into_iter().map(target).collect()
}

#[test]
fn every_object_is_fresh_for_as_long_as_its_role_says() {
    let origin = silent();
    let proxy =
        Proxy::start(&cached(&origin, ", video: { prefetch_segments: 0, multivariant_ttl: 500s }"));
    for (path, seconds) in [
        ("/live/x.m3u8", 1000),
        ("/film/x.m3u8", 3600),
        ("/master.m3u8", 500),
        ("/x.mpd", 2000),
        ("/live/s7.ts", 3600),
    ] {
        ask(&proxy, path, "");
        assert_fresh_for(&ask(&proxy, path, ""), seconds);
    }
    assert_eq!(ask(&proxy, "/broken.m3u8", "").status, 200, "what is not understood is passed on");
    let manifests = |kind| {
        let labels = format!("{{cache=\"main\",kind=\"{kind}\"}}");
        proxy.metric(&format!("forebay_proxy_video_manifests_total{labels}"))
    };
    let kinds = ["hls_multivariant", "hls_media", "dash", "unreadable"].map(manifests);
    assert_eq!(kinds, [1.0, 2.0, 1.0, 1.0]);
}

#[test]
fn what_the_origin_says_counts_before_the_role() {
    let origin = Origin::start(|exchange| answer(exchange, "Cache-Control: max-age=90\r\n", LIVE));
    let proxy = Proxy::start(&cached(&origin, ", video: { prefetch_segments: 0 }"));
    ask(&proxy, "/live/x.m3u8", "");
    assert_fresh_for(&ask(&proxy, "/live/x.m3u8", ""), 90);
}

#[test]
fn the_newest_segments_of_a_live_playlist_are_there_before_they_are_asked_for() {
    let origin = silent();
    let proxy = Proxy::start(&cached(&origin, ", video: { prefetch_segments: 2 }"));
    ask(&proxy, "/live/x.m3u8", "");
    origin.wait_for_requests(3);
    let mut ahead = asked(&origin)[1..].to_vec();
    ahead.sort();
    assert_eq!(ahead, ["/live/s8.ts", "/live/s9.ts"]);
    eventually("both stored", || {
        let whole = "forebay_proxy_cache_fills_total{cache=\"main\",result=\"whole\"}";
        (proxy.metric(whole) == 3.0).then_some(())
    });
    assert!(status(&ask(&proxy, "/live/s9.ts", "")).starts_with("forebay; hit"));
    assert_eq!(origin.requests(), 3);
}

#[test]
fn what_follows_a_segment_is_asked_for_with_it() {
    let origin = silent();
    let proxy = Proxy::start(&cached(&origin, ", video: {}"));
    ask(&proxy, "/film/x.m3u8", "");
    assert_eq!(asked(&origin), ["/film/x.m3u8"], "a film's newest segment is nothing to hurry for");
    ask(&proxy, "/film/1.ts", "");
    origin.wait_for_requests(3);
    let mut both = asked(&origin)[1..].to_vec();
    both.sort();
    assert_eq!(both, ["/film/1.ts", "/film/2.ts?t=1"]);
    let announced = "CMCD=nor%3D%22..%252Fother%252F5.m4s%22";
    ask(&proxy, &format!("/film/9.ts?{announced}"), "");
    origin.wait_for_requests(5);
    assert!(asked(&origin)[3..].contains(&"/other/5.m4s".to_owned()), "{:?}", asked(&origin));
}

#[test]
fn what_another_route_serves_is_not_asked_for_ahead() {
    let origin = silent();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}
routes:
  - {{ name: playlists, match: {{ paths: [ {{ exact: /live/x.m3u8 }} ] }}, upstream: u, cache_policy: p }}
  - {{ name: guarded, upstream: u, access: {{ deny: [ 10.0.0.0/8 ] }} }}
cache_policies: {{ p: {{ cache: main, video: {{}} }} }}
caches: {{ main: {{ memory_max: 64MiB }} }}",
        upstream(&[origin.address])
    ));
    ask(&proxy, "/live/x.m3u8", "");
    ask(&proxy, "/live/s9.ts", "");
    assert_eq!(asked(&origin), ["/live/x.m3u8", "/live/s9.ts"]);
}

#[test]
fn a_rewritten_playlist_leads_to_rewritten_segments() {
    let origin = silent();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}
routes:
  - {{ name: all, match: {{ paths: [ {{ prefix: /tv }} ] }}, rewrite: {{ prefix_to: / }}, upstream: u, cache_policy: p }}
cache_policies: {{ p: {{ cache: main, video: {{}} }} }}
caches: {{ main: {{ memory_max: 64MiB }} }}",
        upstream(&[origin.address])
    ));
    ask(&proxy, "/tv/live/x.m3u8", "");
    origin.wait_for_requests(2);
    assert_eq!(asked(&origin), ["/live/x.m3u8", "/live/s9.ts"]);
}

/// An LL-HLS origin that holds every reload until it is told to answer: segment 10 is there by then.
fn holding() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        if exchange.target().contains("_HLS_msn") {
            let told: &Receiver<()> = &told.lock().unwrap();
            let _ = told.recv_timeout(PATIENCE);
            return answer(exchange, "", &format!("{LIVE}#EXTINF:20,\ns10.ts\n"));
        }
        answer(exchange, "", LIVE)
    });
    (origin, go_on)
}

#[test]
fn a_blocking_reload_is_one_request_whatever_the_order_of_its_parameters() {
    let (origin, go_on) = holding();
    let policy =
        ", key: { query: none }, fill: { collapse_wait_max: 1ms }, video: { prefetch_segments: 0 }";
    let proxy = Proxy::start(&cached(&origin, policy));
    ask(&proxy, "/live/x.m3u8", "");
    let orders = [
        "_HLS_msn=10&_HLS_part=1&_HLS_skip=YES",
        "_HLS_skip=YES&_HLS_part=1&_HLS_msn=10",
        "who=me&_HLS_part=1&_HLS_skip=YES&_HLS_msn=10",
    ];
    let mut herd: Vec<Client> = (0..60)
        .map(|number| {
            let mut client = proxy.client();
            let query = orders[number % orders.len()];
            client.send(format!("GET /live/x.m3u8?{query} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
            client
        })
        .collect();
    let held = "forebay_proxy_video_blocking_reloads_total{cache=\"main\",result=\"held\"}";
    eventually("all held", || (proxy.metric(held) == 60.0).then_some(()));
    go_on.send(()).unwrap();
    for client in &mut herd {
        assert_eq!(client.head().unwrap().0, 200);
    }
    assert_eq!(origin.requests(), 2);
    let later = ask(&proxy, &format!("/live/x.m3u8?{}", orders[1]), "");
    assert_fresh_for(&later, 6 * 2000);
}

#[test]
fn an_answer_to_a_reload_that_lacks_what_was_asked_for_is_kept_like_any_other() {
    let origin = silent();
    let proxy = Proxy::start(&cached(&origin, ", video: { prefetch_segments: 0 }"));
    for (query, seconds) in [("_HLS_msn=9", 6 * 2000), ("_HLS_msn=10", 1000)] {
        for _ in 0..2 {
            let playlist = ask(&proxy, &format!("/live/x.m3u8?{query}"), "");
            assert_eq!(playlist.status, 200);
            if status(&playlist).contains("hit") {
                assert_fresh_for(&playlist, seconds);
            }
        }
    }
    assert_eq!(origin.requests(), 2, "both are kept");
}

#[test]
fn reloads_that_break_the_rules_are_refused_before_the_origin_is_asked() {
    let (origin, _go_on) = holding();
    let proxy = Proxy::start(&cached(&origin, ", video: { prefetch_segments: 0 }"));
    ask(&proxy, "/live/x.m3u8", "");
    for query in ["_HLS_part=1", "_HLS_msn=x", "_HLS_msn=1&_HLS_msn=2", "_HLS_msn=9000"] {
        assert_eq!(ask(&proxy, &format!("/live/x.m3u8?{query}"), "").status, 400, "{query}");
    }
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_live_stream_that_stands_still_is_told() {
    let origin = Origin::start(|exchange| {
        answer(exchange, "Cache-Control: max-age=0\r\nETag: \"1\"\r\n", LIVE)
    });
    let proxy =
        Proxy::start(&cached(&origin, ", video: { prefetch_segments: 0, stalled_after: 20ms }"));
    let stalls = "forebay_proxy_video_stream_stalls_total{cache=\"main\"}";
    eventually("a stall", || {
        ask(&proxy, "/live/x.m3u8", "");
        (proxy.metric(stalls) == 1.0).then_some(())
    });
    assert_eq!(proxy.metric("forebay_proxy_video_streams_live{cache=\"main\"}"), 1.0);
    assert_eq!(proxy.metric("forebay_proxy_video_streams_stalled{cache=\"main\"}"), 1.0);
    proxy.says("stands still");
}

#[test]
fn players_are_counted_by_title_and_share_what_is_cached() {
    let origin = silent();
    let proxy = Proxy::start(&cached(&origin, ", video: {}"));
    for (session, told) in
        [("a", "br%3D800"), ("b", "br%3D(800)%2Cbs%2Cbl%3D(0)"), ("b", "bl%3D4000")]
    {
        let cmcd = format!("CMCD={told}%2Ccid%3D%22film%22%2Csid%3D%22{session}%22");
        assert_eq!(ask(&proxy, &format!("/film/1.ts?{cmcd}"), "").status, 200);
    }
    ask(&proxy, "/film/1.ts?CMCD=%22", "");
    assert_eq!(origin.requests(), 1, "what players tell is no part of the key");
    let by_title = |name: &str| {
        proxy.metric(&format!("forebay_proxy_video_{name}{{cache=\"main\",title=\"film\"}}"))
    };
    assert_eq!((by_title("viewers"), by_title("player_requests_total")), (2.0, 3.0));
    assert_eq!(by_title("player_stalls_total"), 1.0);
    assert_eq!(by_title("player_bitrate_bits_per_second_count"), 2.0);
    assert_eq!(by_title("player_bitrate_bits_per_second_sum"), 1_600_000.0);
    assert_eq!(by_title("player_buffer_seconds_sum"), 4.0);
    let reports = "forebay_proxy_video_player_reports_total{cache=\"main\",result=\"malformed\"}";
    assert_eq!(proxy.metric(reports), 1.0);
}

const DASH_FILM: &str = "<MPD type=\"static\" mediaPresentationDuration=\"PT10S\"><Period><AdaptationSet>\
    <SegmentTemplate media=\"$RepresentationID$/$Number$.m4s\" duration=\"2\"/>\
    <Representation id=\"hd\"/><Representation id=\"sd\"/></AdaptationSet></Period></MPD>";

#[test]
fn what_follows_a_segment_of_dash_is_asked_for_in_the_same_representation() {
    let origin = Origin::start(|exchange| {
        let body = if exchange.target() == "/film/x.mpd" { DASH_FILM } else { "media" };
        answer(exchange, "", body)
    });
    let proxy = Proxy::start(&cached(&origin, ", video: { prefetch_segments: 2 }"));
    ask(&proxy, "/film/x.mpd", "");
    assert_eq!(asked(&origin), ["/film/x.mpd"], "nobody watches any of it yet");
    ask(&proxy, "/film/sd/2.m4s", "");
    origin.wait_for_requests(4);
    let mut ahead = asked(&origin)[1..].to_vec();
    ahead.sort();
    assert_eq!(ahead, ["/film/sd/2.m4s", "/film/sd/3.m4s", "/film/sd/4.m4s"]);
    ask(&proxy, "/film/hd/5.m4s", "");
    assert_eq!(asked(&origin)[4..], ["/film/hd/5.m4s"], "nothing follows the last");
}

/// A live manifest lists what all could watch; new segments are fetched for what somebody watches.
#[test]
fn the_newest_segment_of_live_dash_is_there_for_what_is_watched() {
    let (next, told) = channel::<usize>();
    let last = Mutex::new((told, 0));
    let origin = Origin::start(move |exchange| {
        if exchange.target() != "/live/x.mpd" {
            return answer(exchange, "", "media");
        }
        let mut last = last.lock().unwrap();
        last.1 = last.0.try_recv().unwrap_or(last.1);
        let line = |id| {
            format!(
                "<Representation id=\"{id}\"><SegmentTemplate media=\"{id}-$Time$.m4s\"><SegmentTimeline>\
                 <S t=\"0\" d=\"2\" r=\"{}\"/></SegmentTimeline></SegmentTemplate></Representation>",
                last.1
            )
        };
        let sets = line("hd") + &line("sd");
        let mpd = format!(
            "<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT0.02S\"><Period><AdaptationSet>{sets}</AdaptationSet></Period></MPD>"
        );
        answer(exchange, "", &mpd)
    });
    let proxy = Proxy::start(&cached(&origin, ", video: { prefetch_segments: 1 }"));
    next.send(2).unwrap();
    ask(&proxy, "/live/x.mpd", "");
    ask(&proxy, "/live/hd-4.m4s", "");
    assert_eq!(asked(&origin), ["/live/x.mpd", "/live/hd-4.m4s"]);
    next.send(3).unwrap();
    eventually("the new segment", || {
        ask(&proxy, "/live/x.mpd", "");
        asked(&origin).contains(&"/live/hd-6.m4s".to_owned()).then_some(())
    });
    assert!(asked(&origin).iter().all(|target| !target.contains("sd-")), "{:?}", asked(&origin));
}
