//! The Forebay edge proxy. The way of a request:
//!
//! 1. [`listen`] binds sockets; [`server`] assembles everything and runs it on two [`runtimes`].
//! 2. [`connection`]: PROXY protocol ([`introduction`]), TLS ([`tls`]), HTTP/1 or HTTP/2; on HTTP/1 the [`front`] door, ahead of
//!    pingora's `HttpProxy`, and [`vetting`], so that no head is pingora's to refuse; on HTTP/2 [`frames`], a session of our own for each stream. A request with a large body may [`hop`] to the bulk runtime.
//! 3. [`edge`]: pingora's phases as a table; each delegates to one of the next stops.
//! 4. [`client_address`] ([`proxy_protocol`]), [`request`], [`path`]: who asks, and one valid form, or a refusal; the [`trace`] it is a part of.
//! 5. [`route`]: the first route that matches, with its [`lane`] and [`upstream`], or a [`split`] of several.
//! 6. The route's [`rules`] for this request, its [`gate`] and [`cors`];
//!    [`lane`]: a place in the lane, or shed; its [`guard`]: who asks, proved; [`rate_limit`]: every
//!    limit of the route; [`auth_request`]: another service may say no. What the route answers by
//!    itself is [`content`], sent by [`local`] or, from [`files`], by [`file_answer`]. [`onward`] is the
//!    loop of these stops: each [`detour`] (error pages, `try`, `X-Accel-Redirect`) begins them anew; a file that
//!    `X-Sendfile` names is [`handed_out`].
//! 7. On a route with a cache policy, the [`cache`]: a hit ends here, a miss is a [`fill`]. What it
//!    knows of HLS, DASH and players is [`video`]. [`fastcgi`] asks scripts, [`relay`] asks where an
//!    answer may lead elsewhere, [`mirror`] sends copies, [`tunnel`] carries what is no longer HTTP.
//! 8. Otherwise [`upstream`]: whose turn it is, and what may be tried again; [`headers`] both ways.
//! 9. Bodies stream through pingora, [`prompt`] and [`framing`] see to it that they do, in time
//!    and in one reading; none is held but what is stored, or what the route's policy holds in a [`buffer`]. [`compress`] encodes what a route
//!    compresses, on the bulk runtime. Large ones that nothing encrypts are not copied here: their sockets are [`lent`] to who moves
//!    them by [`splice`] or [`sendfile`]; what that takes of `unsafe` is in [`raw`].
//!    A page that includes others is put together by [`assemble`], its parts asked for [`inside`].
//! 10. [`respond`]: every [`failure`] becomes a response in this one place, JSON or an [`error_page`].
//! 11. [`finish`]: [`metrics`] and a line ([`log_entry`]) in its [`logs`] ([`redact`]), which the [`line_writer`] writes; why it failed in the [`error_logs`], to files or by [`syslog`].
//!
//! Beside the way: [`acme`] (certificates are fetched), [`generation`] (one configuration and all that is made of it), [`standing`] and [`state`] (what outlives it), [`in_force`], [`reload`], [`signals`], [`drain`], [`fetch`] (what the proxy asks by itself), [`upgrade`] (another program takes over), [`notify`],
//! [`admin`], [`operator_log`], [`protected`] (where nothing is written), [`slowest`] and [`top`] (a live view), [`tuning`] (policies changed
//! while it runs), [`simulate`] (a log under another policy), [`command`] (the command line), [`nginx`] (the same proxy started, told and
//! stopped as nginx is).

pub mod absolute;
pub mod accept_encoding;
pub mod acme;
pub mod admin;
pub mod assemble;
pub mod auth_request;
pub mod bodies;
pub mod buffer;
pub mod cache;
pub mod client_address;
pub mod command;
pub mod compress;
pub mod connection;
pub mod content;
pub mod cors;
pub mod dating;
pub mod detour;
pub mod disguise;
pub mod dns;
pub mod drain;
pub mod edge;
pub mod error_logs;
pub mod error_page;
pub mod exchange;
pub mod failure;
pub mod fastcgi;
pub mod fetch;
pub mod file_answer;
pub mod files;
pub mod fill;
pub mod finish;
pub mod flv;
pub mod frames;
pub mod framing;
pub mod front;
pub mod gate;
pub mod gather;
pub mod generation;
pub mod guard;
pub mod handed_out;
pub mod headers;
pub mod hop;
pub mod in_force;
pub mod inside;
pub mod introduction;
pub mod kept_body;
pub mod kept_folder;
pub mod lane;
pub mod layer;
pub mod lent;
pub mod line_writer;
pub mod listen;
pub mod listening;
pub mod listing;
pub mod load;
pub mod local;
pub mod log_entry;
pub mod logs;
pub mod machine;
pub mod metrics;
pub mod mirror;
pub mod mp4;
pub mod nginx;
pub mod notify;
pub mod onward;
pub mod operator_log;
pub mod pace;
pub mod parts;
pub use proxy_config::target as path;
pub mod places;
pub mod prompt;
pub mod protected;
pub mod prove;
pub mod proxy_protocol;
pub mod rate_limit;
pub mod raw;
pub mod redact;
pub mod relay;
pub mod reload;
pub mod request;
pub mod respond;
pub mod retry_after;
pub mod route;
pub mod rules;
pub mod runtimes;
pub mod sendfile;
pub mod server;
pub mod signals;
pub mod signed;
pub mod simulate;
pub mod slowest;
pub mod splice;
pub mod split;
pub mod standing;
pub mod state;
pub mod syslog;
pub mod telemetry;
pub mod tls;
pub mod top;
pub mod trace;
pub mod tuning;
pub mod tunnel;
pub mod unfit;
pub mod upgrade;
pub mod upstream;
pub mod vetting;
pub mod video;
pub mod way;
