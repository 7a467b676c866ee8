//! What is measured.

use std::io;

use crate::load::{self, Client, Connectors, Request};
use crate::origin::{SMALL, Talk};
use crate::peers::{Running, Setup};
use crate::wire::Wire;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Multiplies the number of operations.
    pub(crate) scale: usize,
    /// How many tunnels are idle at the same time.
    pub(crate) tunnels: usize,
}

/// One line of the table.
pub(crate) struct Scenario {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What the table calls it.
    pub(crate) title: &'static str,
    pub(crate) setup: Setup,
    pub(crate) unit: Unit,
    /// What relais shall cost at most, as a multiple of what others do.
    pub(crate) goals: &'static [Goal],
    work: Work,
}

/// A part of what another proxy costs, or a plain number.
pub(crate) enum Goal {
    /// Of the least that any other costs.
    Best(f64),
    /// Of what one other costs.
    Of(&'static str, f64),
    /// In the line's unit.
    Most(f64),
}

/// How a cost is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds of processor time per operation.
    Micros,
    /// Seconds of processor time per GiB.
    PerGib,
    /// KiB of anonymous resident memory per tunnel.
    Kib,
}

enum Work {
    Requests {
        connections: usize,
        request: Request,
    },
    Streams {
        connections: usize,
        streams: usize,
    },
    Handshakes,
    Talk {
        tunnels: usize,
        talk: Talk,
    },
    Idle,
}

impl Scenario {
    /// Operations at a scale of one; the scale that is set if none is said takes a second or so for most.
    pub(crate) fn count(&self) -> usize {
        match self.work {
            Work::Requests { request, .. } => match request.up.max(request.down) {
                0..=4096 => 5000,
                4097..=65536 => 400,
                _ => 40,
            },
            Work::Streams { .. } => 5000,
            Work::Handshakes => 200,
            Work::Talk { talk, .. } if talk.bytes() > 65536 => 4,
            Work::Talk { .. } => 5000,
            Work::Idle => 1,
        }
    }

    /// What one operation moves of bodies or payloads.
    fn bytes(&self) -> usize {
        match self.work {
            Work::Requests { request, .. } => request.up.max(request.down),
            Work::Talk { talk, .. } => talk.bytes(),
            _ => 0,
        }
    }

    /// Measures a proxy once; the answer is in this scenario's unit.
    pub(crate) fn measure(
        &self,
        running: &Running,
        tls: &Connectors,
        options: Options,
    ) -> io::Result<f64> {
        let client = self.client(running, tls);
        if let Work::Idle = self.work {
            return idle(running, &client, options.tunnels);
        }
        let count = self.count() * options.scale;
        let nanos = load::run(async {
            let mut tunnels = self.prepare(&client).await?;
            let before = running.cpu_ns();
            self.operate(&client, &mut tunnels, count).await?;
            Ok(running.cpu_ns().saturating_sub(before) as f64)
        })?;
        let each = nanos / count as f64;
        Ok(match self.unit {
            Unit::PerGib => each / self.bytes() as f64 * f64::from(1 << 30) / 1e9,
            _ => each / 1e3,
        })
    }

    /// How to reach a proxy that runs.
    pub(crate) fn client(&self, running: &Running, tls: &Connectors) -> Client {
        Client {
            address: running.address,
            tls: match self.setup {
                Setup::Http2 => Some(tls.http2.clone()),
                setup => setup.is_tls().then(|| tls.http1.clone()),
            },
        }
    }

    /// Warms the proxy up and opens the tunnels that are needed.
    pub(crate) async fn prepare(&self, client: &Client) -> io::Result<Vec<Wire>> {
        let mut tunnels = match self.work {
            Work::Talk { tunnels, talk } => client.open(tunnels, talk).await?,
            _ => Vec::new(),
        };
        self.operate(client, &mut tunnels, self.count().div_ceil(4))
            .await?;
        Ok(tunnels)
    }

    /// Does `count` operations.
    pub(crate) async fn operate(
        &self,
        client: &Client,
        tunnels: &mut Vec<Wire>,
        count: usize,
    ) -> io::Result<()> {
        match self.work {
            Work::Requests {
                connections,
                request,
            } => client.requests(connections, request, count).await,
            Work::Streams {
                connections,
                streams,
            } => {
                let request = Request::get("/page");
                client.streams(connections, streams, request, count).await
            }
            Work::Handshakes => client.handshakes(HANDSHAKES_AT_ONCE, count).await,
            Work::Talk { talk, .. } => load::talk(tunnels, talk, count).await,
            Work::Idle => Ok(()),
        }
    }
}

/// Memory of the proxy for each of `count` tunnels, all of which have carried a message.
fn idle(running: &Running, client: &Client, count: usize) -> io::Result<f64> {
    let talk = Talk::echo(64);
    let base = running.memory_kib();
    let full = load::run(async {
        let mut tunnels = client.open(count, talk).await?;
        load::talk(&mut tunnels, talk, count).await?;
        Ok(running.memory_kib())
    })?;
    Ok((full as f64 - base as f64) / count as f64)
}

const fn get(connections: usize, path: &'static str, down: usize) -> Work {
    let request = Request { path, up: 0, down };
    Work::Requests {
        connections,
        request,
    }
}

const fn post(connections: usize, up: usize) -> Work {
    let request = Request {
        path: "/page",
        up,
        down: SMALL,
    };
    Work::Requests {
        connections,
        request,
    }
}

const fn echo(tunnels: usize, length: usize) -> Work {
    let talk = Talk::echo(length);
    Work::Talk { tunnels, talk }
}

/// Four tunnels in which one side sends 64 messages of 64 KiB at a time.
const fn bulk(to_client: bool) -> Work {
    let (long, many, short, one) = (64 * 1024, 64, 64, 1);
    let talk = if to_client {
        Talk {
            up: short,
            ups: one,
            down: long,
            downs: many,
        }
    } else {
        Talk {
            up: long,
            ups: many,
            down: short,
            downs: one,
        }
    };
    Work::Talk { tunnels: 4, talk }
}

const fn line(
    name: &'static str,
    title: &'static str,
    setup: Setup,
    unit: Unit,
    goals: &'static [Goal],
    work: Work,
) -> Scenario {
    Scenario {
        name,
        title,
        setup,
        unit,
        goals,
        work,
    }
}

/// Every line of the table; those of one setup stand together, since they share one start of each proxy.
#[rustfmt::skip]
pub(crate) const ALL: &[Scenario] = {
    use Goal::{Best, Most, Of};
    use Setup::{Http2, Many, ManyTls, Page, Plain, Rules, Tls};
    use Unit::{Kib, Micros, PerGib};
    &[
        line("get", "GET, keep-alive, 64 connections", Plain, Micros, &[Best(0.95)], get(64, "/page", SMALL)),
        line("body-64k-down", "64 KiB answers", Plain, PerGib, &[Best(1.0)], get(16, "/65536", 65536)),
        line("body-1m-down", "1 MiB answers", Plain, PerGib, &[Best(1.0)], get(16, "/1048576", 1 << 20)),
        line("body-64k-up", "64 KiB requests", Plain, PerGib, &[Best(1.0)], post(16, 65536)),
        line("body-1m-up", "1 MiB requests", Plain, PerGib, &[Best(1.0)], post(16, 1 << 20)),
        line("handshake", "ws handshake", Plain, Micros, &[Of("nginx", 1.0)], Work::Handshakes),
        line("echo", "echo 64 B, 64 tunnels", Plain, Micros, &[Of("nginx", 1.0)], echo(64, 64)),
        line("echo-512", "echo 64 B, 512 tunnels", Plain, Micros, &[Of("nginx", 0.9)], echo(512, 64)),
        line("echo-4k", "echo 4 KiB, 64 tunnels", Plain, Micros, &[Of("nginx", 0.55), Of("HAProxy", 0.9)], echo(64, 4096)),
        line("bulk-down", "ws bulk to the client", Plain, PerGib, &[Of("Envoy", 0.65)], bulk(true)),
        line("bulk-up", "ws bulk to the origin", Plain, PerGib, &[Of("Envoy", 0.65)], bulk(false)),
        line("get-page", "GET with the page's rules", Page, Micros, &[Best(0.95)], get(64, "/eventbus/page", SMALL)),
        line("rules", "GET, 1000 rewrite rules", Rules, Micros, &[Of("httpd", 0.25)], get(64, "/page", SMALL)),
        line("idle", "idle ws tunnel", Many, Kib, &[Most(1.0)], Work::Idle),
        line("https-get", "GET over https", Tls, Micros, &[Best(0.95)], get(64, "/page", SMALL)),
        line("wss-handshake", "wss handshake, full, P-256", Tls, Micros, &[Best(1.0)], Work::Handshakes),
        line("wss-echo", "wss echo 64 B, 64 tunnels", Tls, Micros, &[Best(0.95)], echo(64, 64)),
        line("wss-bulk-down", "wss bulk to the client", Tls, PerGib, &[Of("Envoy", 1.0)], bulk(true)),
        line("wss-bulk-up", "wss bulk to the origin", Tls, PerGib, &[Of("Envoy", 1.0)], bulk(false)),
        line("wss-idle", "idle wss tunnel", ManyTls, Kib, &[Most(4.0)], Work::Idle),
        line("h2-get", "GET over HTTP/2, 8 connections of 8 streams", Http2, Micros, &[Best(0.85)], Work::Streams { connections: 8, streams: 8 }),
    ]
};

/// Handshakes that are under way at the same time.
const HANDSHAKES_AT_ONCE: usize = 16;
