//! The two ways in which the demonstration's origin speaks over a WebSocket: SockJS frames, or texts as they are.
//!
//! SockJS is what many event buses speak. Its frames are text messages (sockjs-protocol 0.3.3, "Protocol framing"):
//! `o` opens, `h` is a heartbeat, `a["…"]` carries texts, `c[code,"reason"]` closes; a client sends `["…"]`.

use std::hash::{BuildHasher as _, RandomState};

/// What is around the texts of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// SockJS frames.
    Sockjs,
    /// Nothing.
    Raw,
}

/// What a client sent is no frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BrokenFrame;

impl Framing {
    /// What the origin says first.
    pub(super) const fn opening(self) -> Option<&'static str> {
        match self {
            Self::Sockjs => Some("o"),
            Self::Raw => None,
        }
    }

    /// What keeps a silent connection alive.
    pub(super) const fn heartbeat(self) -> Option<&'static str> {
        match self {
            Self::Sockjs => Some("h"),
            Self::Raw => None,
        }
    }

    /// What the origin says last.
    pub(super) fn closing(self, code: u16, reason: &str) -> Option<String> {
        match self {
            Self::Sockjs => Some(format!("c{}", serde_json::json!([code, reason]))),
            Self::Raw => None,
        }
    }

    /// The message that carries `text` to a client.
    pub(super) fn encode(self, text: &str) -> String {
        match self {
            Self::Sockjs => format!("a{}", serde_json::json!([text])),
            Self::Raw => text.to_owned(),
        }
    }

    /// The texts in a message of a client.
    ///
    /// # Errors
    /// If a SockJS frame is neither an array of strings nor a string. An empty message is no frame and no error.
    pub(super) fn decode(self, message: &str) -> Result<Vec<String>, BrokenFrame> {
        match self {
            Self::Raw => Ok(vec![message.to_owned()]),
            Self::Sockjs if message.is_empty() => Ok(Vec::new()),
            Self::Sockjs if message.starts_with('"') => one(message),
            Self::Sockjs => serde_json::from_str(message).map_err(|_| BrokenFrame),
        }
    }
}

/// Some SockJS clients leave out the array around a single text.
fn one(message: &str) -> Result<Vec<String>, BrokenFrame> {
    serde_json::from_str(message)
        .map(|text| vec![text])
        .map_err(|_| BrokenFrame)
}

/// The answer to `/info`, by which a SockJS client learns what it may use.
pub(super) fn info() -> String {
    // The standard library's hash keys are random and need no crate.
    let entropy = RandomState::new().hash_one(()) >> 32;
    serde_json::json!({
        "websocket": true,
        "origins": ["*:*"],
        "cookie_needed": false,
        "entropy": entropy,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_messages() {
        let texts = |texts: &[&str]| Ok(texts.iter().map(ToString::to_string).collect());
        for (framing, message, expected) in [
            (Framing::Sockjs, r#"["a"]"#, texts(&["a"])),
            (
                Framing::Sockjs,
                r#"["a","b\n\u00e9"]"#,
                texts(&["a", "b\né"]),
            ),
            (Framing::Sockjs, r#"[]"#, texts(&[])),
            (Framing::Sockjs, r#""alone""#, texts(&["alone"])),
            (Framing::Sockjs, r#""#, texts(&[])),
            (Framing::Sockjs, r#"["a""#, Err(BrokenFrame)),
            (Framing::Sockjs, r#"[1]"#, Err(BrokenFrame)),
            (Framing::Sockjs, r#"{"a":"b"}"#, Err(BrokenFrame)),
            (Framing::Sockjs, r#""open"#, Err(BrokenFrame)),
            (Framing::Sockjs, r#"text"#, Err(BrokenFrame)),
            (Framing::Raw, r#"["a"]"#, texts(&[r#"["a"]"#])),
            (Framing::Raw, r#""#, texts(&[""])),
        ] {
            assert_eq!(framing.decode(message), expected, "{framing:?} {message}");
        }
    }

    #[test]
    fn origin_messages() {
        for (text, expected) in [
            ("", r#"a[""]"#),
            ("a", r#"a["a"]"#),
            ("\"quoted\" \\ \n", r#"a["\"quoted\" \\ \n"]"#),
            ("é🦀", r#"a["é🦀"]"#),
        ] {
            assert_eq!(Framing::Sockjs.encode(text), expected);
            assert_eq!(Framing::Raw.encode(text), text);
        }
        assert_eq!(
            Framing::Sockjs.closing(3000, "Go away!").as_deref(),
            Some(r#"c[3000,"Go away!"]"#)
        );
    }

    #[test]
    fn info_is_what_a_sockjs_client_reads() {
        let info: serde_json::Value = serde_json::from_str(&info()).expect("JSON");
        assert_eq!(info["websocket"], true);
        assert_eq!(info["origins"], serde_json::json!(["*:*"]));
        assert_eq!(info["cookie_needed"], false);
        assert!(
            info["entropy"]
                .as_u64()
                .is_some_and(|number| u32::try_from(number).is_ok()),
            "{info}"
        );
    }
}
