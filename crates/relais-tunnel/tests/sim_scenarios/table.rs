//! The scenarios, by theme.

use std::time::Duration;

use relais_io::sim::Then;
use relais_tunnel::{EndReason as E, PerSide, Rate, TunnelLimits};

/// What is done to the tunnel while it runs.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Nothing,
    Stop,
    Drain,
    Kick,
    /// Drained and kicked and perhaps stopped, all within a few turns.
    Storm,
    /// Reloads, one every few turns, each of which drains or leaves it alone.
    Reloads,
}

/// One tunnel's fate.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) then: [Then; 2],
    pub(crate) takes: [bool; 2],
    /// The largest payload of a frame.
    pub(crate) payload: usize,
    /// Whether every frame of data has the largest.
    pub(crate) is_full: bool,
    pub(crate) frames: u64,
    pub(crate) held_max: usize,
    pub(crate) act: Act,
    pub(crate) limits: fn(&mut TunnelLimits),
    /// The reasons that it may end for.
    pub(crate) ends: &'static [E],
}

/// The peers' own ends.
pub(crate) const CLOSES: &[E] = &[E::ClientClose, E::OriginClose];

const RESETS: &[E] = &[
    E::ClientClose,
    E::OriginClose,
    E::ClientReset,
    E::OriginReset,
];

/// Both peers send what they have and end their streams.
const fn scenario(name: &'static str) -> Scenario {
    Scenario {
        name,
        then: [Then::End; 2],
        takes: [true; 2],
        payload: 400,
        is_full: false,
        frames: 20,
        held_max: 32 << 20,
        act: Act::Nothing,
        limits: |_| {},
        ends: CLOSES,
    }
}

impl Scenario {
    /// How much longer than a short one it takes: it gets fewer seeds.
    pub(crate) const fn weight(&self) -> u64 {
        match self.payload {
            0..=1000 => 1,
            1001..1_000_000 => 20,
            _ => 50,
        }
    }

    const fn then(self, then: [Then; 2]) -> Self {
        Self { then, ..self }
    }

    /// The origin ends its stream when it has seen the client's end.
    const fn client_first(self) -> Self {
        self.then([Then::End, Then::EndAfterEnd])
    }

    const fn origin_first(self) -> Self {
        self.then([Then::EndAfterEnd, Then::End])
    }

    const fn stays(self) -> Self {
        self.then([Then::Stay; 2])
    }

    const fn takes(self, takes: [bool; 2]) -> Self {
        Self { takes, ..self }
    }

    const fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    const fn is_full(self) -> Self {
        Self {
            is_full: true,
            ..self
        }
    }

    const fn frames(self, frames: u64) -> Self {
        Self { frames, ..self }
    }

    const fn held_max(self, held_max: usize) -> Self {
        Self { held_max, ..self }
    }

    const fn no_room(self) -> Self {
        self.held_max(0)
    }

    const fn act(self, act: Act) -> Self {
        Self { act, ..self }
    }

    const fn limits(self, limits: fn(&mut TunnelLimits)) -> Self {
        Self { limits, ..self }
    }

    const fn ends(self, ends: &'static [E]) -> Self {
        Self { ends, ..self }
    }
}

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    [streams(), times(), stalls(), limits(), orders(), pipes()].concat()
}

const fn ms(count: u64) -> Option<Duration> {
    Some(Duration::from_millis(count))
}

const fn rate(per_second: u64, burst: u64) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

/// How streams end when nobody interferes.
pub(crate) fn streams() -> Vec<Scenario> {
    vec![
        scenario("plain"),
        scenario("client ends first").client_first(),
        scenario("origin ends first").origin_first(),
        scenario("no frames at all").frames(0),
        scenario("no room to hold").no_room(),
        scenario("little room to hold").held_max(2000),
        scenario("no room, client ends first")
            .no_room()
            .client_first(),
        scenario("no half-close")
            .client_first()
            .limits(|l| l.half_close = false),
        scenario("no half-close, origin")
            .origin_first()
            .limits(|l| l.half_close = false),
        scenario("client resets")
            .then([Then::Reset, Then::EndAfterEnd])
            .ends(RESETS),
        scenario("origin resets")
            .then([Then::EndAfterEnd, Then::Reset])
            .ends(RESETS),
        scenario("both reset").then([Then::Reset; 2]).ends(RESETS),
        scenario("reset without room")
            .then([Then::End, Then::Reset])
            .no_room()
            .ends(RESETS),
        scenario("reset against no half-close")
            .then([Then::Reset, Then::End])
            .limits(|l| l.half_close = false)
            .ends(RESETS),
        scenario("strict with sound frames").limits(|l| l.end_on_violation = true),
        scenario("bytes are paced").limits(|l| l.byte_rate = rate(1000, 100)),
        scenario("bytes are paced, without room")
            .no_room()
            .client_first()
            .limits(|l| l.byte_rate = rate(1000, 50)),
    ]
}

/// Times that run out, some of them at the same moment.
pub(crate) fn times() -> Vec<Scenario> {
    vec![
        scenario("idle")
            .stays()
            .limits(|l| l.idle = ms(500))
            .ends(&[E::Idle]),
        scenario("idle without room")
            .stays()
            .no_room()
            .limits(|l| l.idle = ms(500))
            .ends(&[E::Idle]),
        scenario("idle, nobody reads")
            .stays()
            .takes([false; 2])
            .limits(|l| l.idle = ms(500))
            .ends(&[E::Idle]),
        scenario("lifetime")
            .stays()
            .limits(|l| l.lifetime = ms(300))
            .ends(&[E::Lifetime]),
        scenario("lifetime while busy")
            .stays()
            .frames(200)
            .limits(|l| l.lifetime = ms(1))
            .ends(&[E::Lifetime]),
        scenario("lifetime and idle at once")
            .stays()
            .frames(0)
            .limits(|l| {
                l.lifetime = ms(128);
                l.idle = ms(128);
            })
            .ends(&[E::Lifetime]),
        scenario("half-closed by the client")
            .then([Then::End, Then::Stay])
            .limits(|l| l.half_close_timeout = ms(400))
            .ends(&[E::HalfClose]),
        scenario("half-closed by the origin")
            .then([Then::Stay, Then::End])
            .limits(|l| l.half_close_timeout = ms(400))
            .ends(&[E::HalfClose]),
        scenario("nobody answers a ping")
            .stays()
            .limits(|l| l.ping = ms(300))
            .ends(&[E::PingTimeout]),
        scenario("idle behind half a close")
            .then([Then::End, Then::Stay])
            .limits(|l| l.idle = ms(500))
            .ends(&[E::Idle]),
        scenario("every time at once")
            .stays()
            .frames(0)
            .limits(|l| {
                l.lifetime = ms(256);
                l.idle = ms(256);
                l.ping = ms(128);
                l.write_timeout = ms(256);
                l.half_close_timeout = ms(256);
            })
            .ends(&[E::Lifetime]),
        scenario("half a close and idle at once")
            .then([Then::End, Then::Stay])
            .frames(0)
            .limits(|l| {
                l.half_close_timeout = ms(256);
                l.idle = ms(256);
            })
            .ends(&[E::HalfClose, E::Idle]),
    ]
}

/// Peers that take nothing.
pub(crate) fn stalls() -> Vec<Scenario> {
    vec![
        scenario("client stalls")
            .stays()
            .takes([false, true])
            .frames(200)
            .limits(|l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            })
            .ends(&[E::ClientStall, E::Idle]),
        scenario("origin stalls")
            .stays()
            .takes([true, false])
            .frames(200)
            .limits(|l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            })
            .ends(&[E::OriginStall, E::Idle]),
        scenario("both stall")
            .stays()
            .takes([false; 2])
            .frames(300)
            .no_room()
            .limits(|l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            })
            .ends(&[E::ClientStall, E::OriginStall, E::Idle]),
        scenario("stall and idle at once")
            .stays()
            .takes([false; 2])
            .frames(300)
            .limits(|l| {
                l.write_timeout = ms(256);
                l.idle = ms(256);
            })
            .ends(&[E::ClientStall, E::OriginStall, E::Idle]),
        scenario("stalled at once")
            .stays()
            .takes([false; 2])
            .frames(300)
            .limits(|l| {
                l.write_timeout = ms(1);
                l.idle = ms(60_000);
            })
            .ends(&[E::ClientStall, E::OriginStall, E::Idle]),
    ]
}

/// Sizes and rates that are exceeded, wherever the boundary falls.
pub(crate) fn limits() -> Vec<Scenario> {
    vec![
        scenario("client's messages too large")
            .stays()
            .limits(|l| {
                l.message_size.client = 300;
                l.idle = ms(500);
            })
            .ends(&[E::MessageSize, E::Idle]),
        scenario("origin's messages too large")
            .stays()
            .limits(|l| {
                l.message_size.origin = 300;
                l.idle = ms(500);
            })
            .ends(&[E::MessageSize, E::Idle]),
        scenario("no payload allowed")
            .stays()
            .limits(|l| {
                l.message_size = PerSide {
                    client: 0,
                    origin: 0,
                };
                l.idle = ms(500);
            })
            .ends(&[E::MessageSize, E::Idle]),
        scenario("frames too large")
            .stays()
            .limits(|l| {
                l.frame_size = PerSide {
                    client: 126,
                    origin: 125,
                };
                l.idle = ms(500);
            })
            .ends(&[E::FrameSize, E::Idle]),
        scenario("too large without room")
            .stays()
            .no_room()
            .limits(|l| {
                l.frame_size.client = 125;
                l.idle = ms(500);
            })
            .ends(&[E::FrameSize, E::Idle]),
        scenario("too many messages")
            .stays()
            .limits(|l| {
                l.message_rate = rate(1, 3);
                l.idle = ms(500);
            })
            .ends(&[E::MessageRate, E::Idle]),
        scenario("too many, without room")
            .stays()
            .no_room()
            .limits(|l| {
                l.message_rate = rate(1, 3);
                l.idle = ms(500);
            })
            .ends(&[E::MessageRate, E::Idle]),
    ]
}

/// What operators and reloads ask for.
pub(crate) fn orders() -> Vec<Scenario> {
    vec![
        scenario("stop").origin_first().act(Act::Stop).ends(&[
            E::Stopped,
            E::ClientClose,
            E::OriginClose,
        ]),
        scenario("stop against peers that stay")
            .stays()
            .act(Act::Stop)
            .ends(&[E::Stopped]),
        scenario("stop, nobody reads")
            .stays()
            .takes([false; 2])
            .act(Act::Stop)
            .ends(&[E::Stopped]),
        scenario("drain")
            .stays()
            .act(Act::Drain)
            .ends(&[E::Drained]),
        scenario("drain within fragments")
            .stays()
            .frames(100)
            .payload(3)
            .act(Act::Drain)
            .ends(&[E::Drained]),
        scenario("drain without room")
            .stays()
            .no_room()
            .act(Act::Drain)
            .ends(&[E::Drained]),
        scenario("kick").stays().act(Act::Kick).ends(&[E::Kicked]),
        scenario("kick while it closes")
            .client_first()
            .act(Act::Kick)
            .ends(&[E::Kicked, E::ClientClose, E::OriginClose]),
        scenario("storm of orders").stays().act(Act::Storm).ends(&[
            E::Kicked,
            E::Drained,
            E::Stopped,
        ]),
        scenario("storm without room")
            .stays()
            .no_room()
            .act(Act::Storm)
            .ends(&[E::Kicked, E::Drained, E::Stopped]),
        scenario("storm over stalls")
            .stays()
            .takes([false; 2])
            .frames(200)
            .act(Act::Storm)
            .limits(|l| l.write_timeout = ms(200))
            .ends(&[
                E::Kicked,
                E::Drained,
                E::Stopped,
                E::ClientStall,
                E::OriginStall,
            ]),
        scenario("drain behind half a close")
            .then([Then::End, Then::Stay])
            .act(Act::Drain)
            .ends(&[E::Drained]),
        scenario("reload storm")
            .stays()
            .frames(60)
            .act(Act::Reloads)
            .ends(&[E::Drained]),
        scenario("reload storm over fragments, without room")
            .stays()
            .frames(100)
            .payload(3)
            .no_room()
            .act(Act::Reloads)
            .ends(&[E::Drained]),
        scenario("reload storm while it closes")
            .client_first()
            .act(Act::Reloads)
            .ends(&[E::Drained, E::ClientClose, E::OriginClose]),
    ]
}

/// Payloads that are long enough for pipes, of which a seed refuses none, some, or half at any moment.
pub(crate) fn pipes() -> Vec<Scenario> {
    vec![
        scenario("long payloads through pipes")
            .payload(150_000)
            .frames(2),
        scenario("pipes and a reset")
            .payload(150_000)
            .frames(2)
            .then([Then::Reset, Then::End])
            .ends(RESETS),
        scenario("pipes and a drain")
            .payload(150_000)
            .frames(3)
            .stays()
            .act(Act::Drain)
            .ends(&[E::Drained]),
        scenario("messages of 16 MiB")
            .payload(16 << 20)
            .frames(1)
            .is_full(),
        scenario("messages of 16 MiB, without room")
            .payload(16 << 20)
            .frames(1)
            .is_full()
            .no_room()
            .client_first(),
        scenario("pipes, nobody reads")
            .stays()
            .takes([false; 2])
            .payload(150_000)
            .frames(2)
            .is_full()
            .limits(|l| {
                l.write_timeout = ms(300);
                l.idle = ms(60_000);
            })
            .ends(&[E::ClientStall, E::OriginStall, E::Idle]),
    ]
}
