//! mod_http2: HTTP/2 in front (mod_http2.html). The frames are the front's; here are the bounds, and what a request that
//! came by HTTP/2 shows to rules, logs and programs.

use std::time::Duration;

use relais_policy::{Context, Directive, Exchange, Flow, HostSpec, Http2Spec, Module, Set};

use crate::values;

/// mod_http2.
pub struct Http2;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    direct: Option<bool>,
    streams_max: Option<u32>,
    window: Option<u32>,
    memory: Option<u32>,
    frame_max: Option<u32>,
    errors_max: Option<u32>,
    timeout: Option<Duration>,
    early_hints: Option<bool>,
    websockets: Option<bool>,
}

/// Sizes up to here are sizes that something can have in memory: 1 GiB.
const SIZE_MAX: u32 = 1 << 30;

/// A server's or a section's directive without effect.
const fn ignored(
    name: &'static str,
    syntax: &'static str,
    doc: &'static str,
    accepts: &'static [&'static str],
    why: &'static str,
) -> Directive<Http2> {
    Directive {
        name,
        syntax,
        context: Context::HOST.or(Context::DIRECTORY),
        default: None,
        doc,
        accepts,
        refuses: &[],
        set: Set::Ignored(why),
    }
}

const NO_WORKERS: &str = "streams are served by the thread of their connection";
const NO_PUSH: &str = "nothing is pushed: browsers take no pushes any more";
const NO_UPGRADE: &str =
    "RFC 9113 took Upgrade: h2c out; clients begin with HTTP/2 or stay with HTTP/1.1";

impl Module for Http2 {
    const NAME: &'static str = "mod_http2";
    const IDENTIFIER: &'static str = "http2_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "H2Direct",
            syntax: "H2Direct on|off",
            context: Context::HOST,
            default: Some("on for h2c, off for h2"),
            doc: "Whether a connection may begin with HTTP/2 where no handshake has agreed on it.",
            accepts: &["H2Direct on", "H2Direct off"],
            refuses: &["H2Direct", "H2Direct maybe"],
            set: Set::Flag(|slot, on| {
                slot.host.direct = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "H2MaxSessionStreams",
            syntax: "H2MaxSessionStreams n",
            context: Context::HOST,
            default: Some("100"),
            doc: "Streams of a connection at the same time.",
            accepts: &["H2MaxSessionStreams 100"],
            refuses: &[
                "H2MaxSessionStreams",
                "H2MaxSessionStreams 0",
                "H2MaxSessionStreams x",
            ],
            set: Set::Take1(|slot, word| {
                let range = 1..=i32::MAX as u32;
                slot.host.streams_max = Some(values::small(word, "H2MaxSessionStreams", range)?);
                Ok(())
            }),
        },
        Directive {
            name: "H2WindowSize",
            syntax: "H2WindowSize bytes",
            context: Context::HOST,
            default: Some("65535"),
            doc: "Bytes that a client may send on a stream before they have been passed on.",
            accepts: &["H2WindowSize 1024", "H2WindowSize 128000"],
            refuses: &["H2WindowSize", "H2WindowSize 1023", "H2WindowSize x"],
            set: Set::Take1(|slot, word| {
                slot.host.window = Some(values::small(word, "H2WindowSize", 1024..=SIZE_MAX)?);
                Ok(())
            }),
        },
        Directive {
            name: "H2StreamMaxMemSize",
            syntax: "H2StreamMaxMemSize bytes",
            context: Context::HOST,
            default: Some("65536"),
            doc: "Bytes of an answer that wait for the client, for each stream.",
            accepts: &["H2StreamMaxMemSize 1024", "H2StreamMaxMemSize 128000"],
            refuses: &["H2StreamMaxMemSize", "H2StreamMaxMemSize 1023"],
            set: Set::Take1(|slot, word| {
                let memory = values::small(word, "H2StreamMaxMemSize", 1024..=SIZE_MAX)?;
                slot.host.memory = Some(memory);
                Ok(())
            }),
        },
        Directive {
            name: "H2MaxDataFrameLen",
            syntax: "H2MaxDataFrameLen n",
            context: Context::HOST,
            default: Some("0"),
            doc: "Bytes of content in one frame that is sent; 0 leaves it to the client's setting.",
            accepts: &["H2MaxDataFrameLen 0", "H2MaxDataFrameLen 4096"],
            refuses: &["H2MaxDataFrameLen", "H2MaxDataFrameLen -1"],
            set: Set::Take1(|slot, word| {
                let length = values::small(word, "H2MaxDataFrameLen", 0..=SIZE_MAX)?;
                slot.host.frame_max = Some(length);
                Ok(())
            }),
        },
        Directive {
            name: "H2MaxStreamErrors",
            syntax: "H2MaxStreamErrors n",
            context: Context::HOST,
            default: Some("8"),
            doc: "Streams of a connection that are reset for errors of the client's before the connection is ended; 0 is the most that is ever let pass.",
            accepts: &["H2MaxStreamErrors 0", "H2MaxStreamErrors 20"],
            refuses: &["H2MaxStreamErrors", "H2MaxStreamErrors -1"],
            set: Set::Take1(|slot, word| {
                let most = values::small(word, "H2MaxStreamErrors", 0..=SIZE_MAX)?;
                slot.host.errors_max = Some(most);
                Ok(())
            }),
        },
        Directive {
            name: "H2StreamTimeout",
            syntax: "H2StreamTimeout time-interval[s]",
            context: Context::HOST,
            default: Some("value of Timeout"),
            doc: "How long the client of a stream may send nothing of a body, or take nothing of an answer; 0 is Timeout.",
            accepts: &[
                "H2StreamTimeout 5",
                "H2StreamTimeout 500ms",
                "H2StreamTimeout 0",
            ],
            refuses: &["H2StreamTimeout", "H2StreamTimeout x"],
            set: Set::Take1(|slot, word| {
                let unit = Duration::from_secs(1);
                slot.host.timeout = Some(values::duration(word, "H2StreamTimeout", unit)?);
                Ok(())
            }),
        },
        Directive {
            name: "H2EarlyHints",
            syntax: "H2EarlyHints on|off",
            context: Context::HOST,
            default: Some("off"),
            doc: "Whether an origin's 103 goes to clients of HTTP/2.",
            accepts: &["H2EarlyHints on", "H2EarlyHints off"],
            refuses: &["H2EarlyHints", "H2EarlyHints x"],
            set: Set::Flag(|slot, on| {
                slot.host.early_hints = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "H2WebSockets",
            syntax: "H2WebSockets on|off",
            context: Context::HOST,
            default: Some("on"),
            doc: "Whether WebSockets may be opened on a stream (RFC 8441). Here the default is on.",
            accepts: &["H2WebSockets on", "H2WebSockets off"],
            refuses: &["H2WebSockets", "H2WebSockets x"],
            set: Set::Flag(|slot, on| {
                slot.host.websockets = Some(on);
                Ok(())
            }),
        },
        ignored(
            "H2Upgrade",
            "H2Upgrade on|off",
            "Whether HTTP/1.1 may change to HTTP/2.",
            &["H2Upgrade on", "H2Upgrade off"],
            NO_UPGRADE,
        ),
        ignored(
            "H2Push",
            "H2Push on|off",
            "Whether resources are pushed.",
            &["H2Push on"],
            NO_PUSH,
        ),
        ignored(
            "H2PushDiarySize",
            "H2PushDiarySize n",
            "How many pushes are remembered.",
            &["H2PushDiarySize 256"],
            NO_PUSH,
        ),
        ignored(
            "H2PushPriority",
            "H2PushPriority mime-type [after|before|interleaved] [weight]",
            "The order of pushes.",
            &["H2PushPriority * after 16"],
            NO_PUSH,
        ),
        ignored(
            "H2PushResource",
            "H2PushResource [add] path [critical]",
            "What is pushed.",
            &["H2PushResource /x.css critical"],
            NO_PUSH,
        ),
        ignored(
            "H2EarlyHint",
            "H2EarlyHint name value",
            "A field of the 103 that httpd sends by itself.",
            &["H2EarlyHint Link </x.css>;rel=preload"],
            "relais sends no 103 of its own",
        ),
        ignored(
            "H2ModernTLSOnly",
            "H2ModernTLSOnly on|off",
            "Whether HTTP/2 is offered with ciphers of RFC 9113's list only.",
            &["H2ModernTLSOnly on", "H2ModernTLSOnly off"],
            "there are no other ciphers here",
        ),
        ignored(
            "H2TLSWarmUpSize",
            "H2TLSWarmUpSize amount",
            "How many bytes are sent in small records first.",
            &["H2TLSWarmUpSize 0"],
            "a record is as large as what there is to send",
        ),
        ignored(
            "H2TLSCoolDownSecs",
            "H2TLSCoolDownSecs seconds",
            "After how long a pause records are small again.",
            &["H2TLSCoolDownSecs 1"],
            "a record is as large as what there is to send",
        ),
        ignored(
            "H2Padding",
            "H2Padding numbits",
            "How many random bytes frames are padded with.",
            &["H2Padding 0"],
            "frames are not padded",
        ),
        ignored(
            "H2OutputBuffering",
            "H2OutputBuffering on|off",
            "Whether frames are gathered before they are written.",
            &["H2OutputBuffering on"],
            "what is there is written at once",
        ),
        ignored(
            "H2MaxHeaderBlockLen",
            "H2MaxHeaderBlockLen bytes",
            "The size of a header block that is sent.",
            &["H2MaxHeaderBlockLen 0"],
            "responsefieldsize= bounds what an origin's head may hold",
        ),
        ignored(
            "H2ProxyRequests",
            "H2ProxyRequests on|off",
            "Whether HTTP/2 clients may use a forward proxy.",
            &["H2ProxyRequests off"],
            "relais is no forward proxy",
        ),
        ignored(
            "H2MinWorkers",
            "H2MinWorkers n",
            "Threads for streams.",
            &["H2MinWorkers 1"],
            NO_WORKERS,
        ),
        ignored(
            "H2MaxWorkers",
            "H2MaxWorkers n",
            "Threads for streams.",
            &["H2MaxWorkers 10"],
            NO_WORKERS,
        ),
        ignored(
            "H2MaxWorkerIdleSeconds",
            "H2MaxWorkerIdleSeconds n",
            "How long a thread for streams is kept.",
            &["H2MaxWorkerIdleSeconds 600"],
            NO_WORKERS,
        ),
        ignored(
            "H2SerializeHeaders",
            "H2SerializeHeaders on|off",
            "Whether requests pass through httpd's HTTP/1.1 parser.",
            &["H2SerializeHeaders off"],
            "requests of both protocols have the same form",
        ),
        ignored(
            "H2CopyFiles",
            "H2CopyFiles on|off",
            "Whether files are read before they are handed on.",
            &["H2CopyFiles on"],
            "files are always read in pieces",
        ),
        ignored(
            "H2SessionExtraFiles",
            "H2SessionExtraFiles n",
            "Open files of a connection.",
            &["H2SessionExtraFiles 5"],
            "a connection has no files of its own",
        ),
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            direct: inner.direct.or(outer.direct),
            streams_max: inner.streams_max.or(outer.streams_max),
            window: inner.window.or(outer.window),
            memory: inner.memory.or(outer.memory),
            frame_max: inner.frame_max.or(outer.frame_max),
            errors_max: inner.errors_max.or(outer.errors_max),
            timeout: inner.timeout.or(outer.timeout),
            early_hints: inner.early_hints.or(outer.early_hints),
            websockets: inner.websockets.or(outer.websockets),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn finish_host(host: &Host, _section: &(), spec: &mut HostSpec) {
        let default = Http2Spec::default();
        let size = |set: Option<u32>| set.map(|bytes| bytes as usize);
        spec.protocols.direct = host.direct;
        spec.http2 = Http2Spec {
            streams_max: host.streams_max.unwrap_or(default.streams_max),
            window: host.window.unwrap_or(default.window),
            memory: size(host.memory).unwrap_or(default.memory),
            frame_max: size(host.frame_max).filter(|&bytes| bytes > 0),
            errors_max: match size(host.errors_max) {
                Some(0) => Http2Spec::ERRORS_MAX,
                set => set.unwrap_or(default.errors_max).min(Http2Spec::ERRORS_MAX),
            },
            timeout: host.timeout.filter(|time| !time.is_zero()),
            early_hints: host.early_hints.unwrap_or(default.early_hints),
            websockets: host.websockets.unwrap_or(default.websockets),
        };
    }
}

/// Sets the variables of a request that came by HTTP/2 (mod_http2.html#envvars).
pub fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let Some(stream) = exchange.connection.stream else {
        return Flow::Declined;
    };
    let stream = stream.to_string();
    let variables: [(&[u8], &[u8]); 5] = [
        (b"HTTP2", b"on"),
        (b"H2PUSH", b"off"),
        (b"H2_PUSH", b"off"),
        (b"H2_STREAM_ID", stream.as_bytes()),
        (b"H2_STREAM_TAG", stream.as_bytes()),
    ];
    for (name, value) in variables {
        exchange.environment.set(name, Some(value));
    }
    Flow::Declined
}
