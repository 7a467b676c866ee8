//! A request for a balancer: a member is chosen, and another one when it
//! cannot be reached. Nothing has been sent by then, so any request may go on.

use std::sync::Arc;

use relais_policy::{Balanced, Respond};
use relais_telemetry::Level;
use relais_upstream::{Ask, Balancer, Choice, ConnectError, Member};
use tokio::time::Instant;

use crate::answer::{self, Body};
use crate::client::Client;
use crate::forward;
use crate::handshake;
use crate::turn::{Next, Turn, Verdict};

/// Forwards a request to one of a balancer's members.
pub(crate) async fn run(mut turn: Turn<'_>, client: &mut Client<'_>, balanced: &Balanced) -> Next {
    let turn = &mut turn;
    if let Err(error) = forward::check_arrived(turn, client) {
        return forward::broken(turn, client, &error).await;
    }
    let (host, index) = (turn.exchange.host.index, balanced.balancer.index);
    let Some(balancer) = turn.generation.upstreams.balancer(host, index) else {
        return nobody(turn, client, &balanced.balancer.name).await;
    };
    let mut tried: Vec<Arc<Member>> = Vec::new();
    loop {
        let Some(choice) = choose(turn, balancer, balanced, &tried) else {
            return nobody(turn, client, balancer.name()).await;
        };
        tell(turn, balancer, &choice);
        let member = choice.member;
        turn.member = Some(member.begin());
        let worker = &member.spec.worker;
        let Some(forward) = balanced.forward(worker, &member.spec.path) else {
            let log = "the target URL holds characters that may not stand in a request line";
            return answer::own(turn, client, &Respond::logged(403, log), Body::Unread).await;
        };
        let asked = match &forward.upgrade {
            None => None,
            Some(_) => match handshake::check(turn, &forward) {
                Ok(asked) => Some(asked),
                Err(respond) => return answer::own(turn, client, &respond, Body::Unread).await,
            },
        };
        match forward::connection(turn, &forward).await {
            Ok(lease) => {
                let next = forward::carry(turn, client, &forward, asked, lease).await;
                judge(turn, balancer, &member);
                return next;
            }
            Err(error) => {
                turn.url.clone_from(&forward.url);
                // A full member is not a broken one.
                if !matches!(error, ConnectError::Exhausted { .. }) {
                    member.fail(Instant::now());
                }
                if error.status() != 503 || tried.len() >= balancer.attempts_max() {
                    return forward::unreachable(turn, client, worker, &error).await;
                }
                forward::log_unreachable(turn, worker, &error);
                tried.push(member);
            }
        }
    }
}

fn choose(
    turn: &Turn<'_>,
    balancer: &Balancer,
    balanced: &Balanced,
    tried: &[Arc<Member>],
) -> Option<Choice> {
    let cookies: Vec<&[u8]> = turn.exchange.head.fields.get_all("Cookie").collect();
    balancer.choose(&Ask {
        target: &balanced.path,
        cookies: &cookies,
        key: &balanced.key,
        tried,
        now: Instant::now(),
    })
}

/// Sets the variables that mod_proxy_balancer sets for a request.
fn tell(turn: &mut Turn<'_>, balancer: &Balancer, choice: &Choice) {
    let spec = &choice.member.spec;
    let environment = &mut turn.exchange.environment;
    let route = (!spec.route.is_empty()).then_some(spec.route.as_bytes());
    environment.set(b"BALANCER_NAME", Some(balancer.name().as_bytes()));
    environment.set(b"BALANCER_WORKER_NAME", Some(spec.url.as_bytes()));
    environment.set(b"BALANCER_WORKER_ROUTE", route);
    let sticky = choice.sticky.as_deref().map(str::as_bytes);
    environment.set(b"BALANCER_SESSION_STICKY", sticky);
    environment.set(b"BALANCER_SESSION_ROUTE", choice.route.as_deref());
    let changed = choice.route_changed.then_some(&b"1"[..]);
    environment.set(b"BALANCER_ROUTE_CHANGED", changed);
}

/// What a member's answer means for it: `failonstatus`, `failontimeout`.
fn judge(turn: &mut Turn<'_>, balancer: &Balancer, member: &Member) {
    let failed = match turn.verdict.get() {
        Verdict::None => false,
        Verdict::Status(status) => balancer.fails_on_status(status),
        Verdict::TimedOut => balancer.fails_on_timeout(),
    };
    if failed {
        let url = &member.spec.url;
        let message = format!(
            "AH01174: {}: forcing member {url} into error state",
            balancer.name()
        );
        turn.log("proxy_balancer", Level::Error, &message);
        member.fail(Instant::now());
    }
}

async fn nobody(turn: &mut Turn<'_>, client: &mut Client<'_>, name: &str) -> Next {
    let message =
        format!("AH01170: {name}: all members are in error or stopped, or the session's is");
    turn.log("proxy_balancer", Level::Error, &message);
    answer::own(turn, client, &Respond::status(503), Body::Unread).await
}
