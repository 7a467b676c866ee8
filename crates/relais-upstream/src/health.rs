//! Health checks of balancer members (mod_proxy_hcheck).
//!
//! One task per member and process, on whatever runtime spawns it. A check has
//! a connection of its own, so that it says whether a new one can be had.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use relais_http1::{BodyDecoder, Parse, ResponseHead, ResponseLimits, Step};
use relais_policy::{HealthCondition, HealthMethod, HealthSpec, MemberStatus};
use relais_tls::ClientTls;
use relais_websocket::{Key, check_response, close_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::balancer::Member;
use crate::connect::connect;
use crate::resolve::Resolver;

/// Bytes of an answer that are read at the most.
const ANSWER_MAX: usize = 64 * 1024;

/// Checks members for as long as the future lives; `tell` hears of every
/// member that goes out of use or comes back. `tls` is what members behind TLS
/// are checked by.
pub async fn check_members(
    members: Vec<Arc<Member>>,
    tls: Option<Arc<ClientTls>>,
    tell: impl Fn(&str) + 'static,
) {
    let resolver = Rc::new(Resolver::default());
    let tell: Rc<dyn Fn(&str)> = Rc::new(tell);
    // Dropping the set ends its tasks.
    let mut tasks = tokio::task::JoinSet::new();
    for member in members {
        if member.health().is_some() {
            tasks.spawn_local(watch(
                member,
                tls.clone(),
                Rc::clone(&resolver),
                Rc::clone(&tell),
            ));
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn watch(
    member: Arc<Member>,
    tls: Option<Arc<ClientTls>>,
    resolver: Rc<Resolver>,
    tell: Rc<dyn Fn(&str)>,
) {
    let (mut passes, mut fails) = (0, 0);
    // Asked anew each time, since it can be changed meanwhile.
    while let Some(health) = member.health() {
        sleep(health.interval).await;
        let result = check(&member, &health, tls.as_ref(), &resolver).await;
        let down = member.status() & MemberStatus::UNHEALTHY != 0;
        match result {
            Ok(()) => (passes, fails) = (passes + 1, 0),
            Err(_) => (passes, fails) = (0, fails + 1),
        }
        member.checked(passes, fails);
        let url = &member.spec.url;
        match result {
            Err(why) if !down && fails >= health.fails => {
                member.set_status(MemberStatus::UNHEALTHY, true);
                tell(&format!("AH03251: health check disabling {url}: {why}"));
            }
            Ok(()) if down && passes >= health.passes => {
                member.set_status(MemberStatus::UNHEALTHY, false);
                tell(&format!("AH03302: health check enabling {url}"));
            }
            _ => {}
        }
    }
}

/// One check; the error says what is wrong with the member.
async fn check(
    member: &Member,
    health: &HealthSpec,
    tls: Option<&Arc<ClientTls>>,
    resolver: &Resolver,
) -> Result<(), String> {
    let worker = &member.spec.worker;
    let mut stream = connect(resolver, worker, tls)
        .await
        .map_err(|error| error.to_string())?;
    let authority = worker.authority();
    let key = Key::from_nonce(nonce());
    let request = match health.method {
        HealthMethod::Tcp => return Ok(()),
        HealthMethod::Http { method, modern } => {
            let version = if modern { "1.1" } else { "1.0" };
            format!(
                "{method} {} HTTP/{version}\r\nHost: {authority}\r\n\r\n",
                health.target
            )
        }
        HealthMethod::WebSocket => format!(
            "GET {} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            health.target,
            String::from_utf8_lossy(key.as_bytes())
        ),
    };
    let exchange = async {
        let (mut read, mut write) = stream.split();
        write.write_all(request.as_bytes()).await?;
        let (head, rest) = answer(&mut read).await?;
        if health.method == HealthMethod::WebSocket && head.status() == 101 {
            // 1001: the endpoint goes away (RFC 6455 §7.4.1). Whether it hears
            // that is its own affair.
            let _ = write.write_all(&close_frame(1001, b"", Some([0; 4]))).await;
        }
        let body = match (&health.condition, health.method) {
            (Some(_), HealthMethod::Http { method, .. }) => {
                content(&mut read, &head, method, rest).await?
            }
            _ => Vec::new(),
        };
        Ok((head, body))
    };
    let (head, body) = match timeout(worker.timeout, exchange).await {
        Ok(result) => result.map_err(|error: io::Error| error.to_string())?,
        Err(_) => return Err("no answer in time".to_owned()),
    };
    match (health.method, head.status()) {
        (HealthMethod::WebSocket, 101) => check_response(head.fields.iter(), &key)
            .map_err(|error| format!("its 101 is wrong: {}", error.reason())),
        (HealthMethod::WebSocket, status) => {
            Err(format!("the handshake is answered with {status}"))
        }
        (_, status) => match &health.condition {
            Some(condition) if condition.holds(&head, &body) => Ok(()),
            Some(HealthCondition { name, .. }) => Err(format!(
                "it answers {status}, and the condition {name} does not hold"
            )),
            None if (200..=399).contains(&status) => Ok(()),
            None => Err(format!("it answers {status}")),
        },
    }
}

/// The head of the final answer, or of a 101, and what came behind it.
async fn answer(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<(ResponseHead, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(4096);
    let mut head = ResponseHead::new();
    loop {
        match head.parse_into(&bytes, &ResponseLimits::default()) {
            Ok(Parse::Complete { consumed }) if matches!(head.status(), 100 | 102..=199) => {
                bytes.drain(..consumed);
                head.clear();
                continue;
            }
            Ok(Parse::Complete { consumed }) => {
                bytes.drain(..consumed);
                return Ok((head, bytes));
            }
            Ok(Parse::Partial) => {}
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        if bytes.len() > ANSWER_MAX {
            return Err(io::Error::other("an answer without end"));
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What an answer holds, or the first part of it; `bytes` came with its head.
async fn content(
    from: &mut (impl AsyncReadExt + Unpin),
    head: &ResponseHead,
    method: &str,
    mut bytes: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let malformed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let framing = head.framing(method.as_bytes());
    let framing = framing.map_err(|error| malformed(&error))?;
    let mut decoder = BodyDecoder::new(framing.body);
    let mut body = Vec::new();
    while !decoder.is_done() && body.len() < ANSWER_MAX {
        let (consumed, waits) = match decoder.step(&bytes) {
            Ok(Step::Data { bytes, consumed }) => {
                body.extend_from_slice(bytes);
                (consumed, false)
            }
            Ok(Step::NeedMore { consumed }) => (consumed, true),
            Ok(Step::End { consumed }) => (consumed, false),
            Err(error) => return Err(malformed(&error)),
        };
        bytes.drain(..consumed);
        if waits && from.read_buf(&mut bytes).await? == 0 {
            decoder.finish_eof().map_err(|error| malformed(&error))?;
            break;
        }
    }
    Ok(body)
}

/// Sixteen bytes that differ from handshake to handshake, by the keys that the
/// standard library takes from the system.
pub(crate) fn nonce() -> [u8; 16] {
    let half = || RandomState::new().hash_one(0_u8);
    ((u128::from(half()) << 64) | u128::from(half())).to_be_bytes()
}
