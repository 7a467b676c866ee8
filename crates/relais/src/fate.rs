//! What a reload and a drain do to live tunnels.
//!
//! A tunnel keeps no configuration, only the names of its route: the virtual
//! host and the worker. Both sites are asked what became of these.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use relais_policy::{Host, OnReload, ReloadAction, Site, WorkerSpec};
use relais_tunnel::{EndReason, EngineHandle, Farewell, Route, TunnelInfo};

/// What became of a tunnel's route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is as it was, as far as a configuration can tell.
    Unchanged,
    /// Its worker has other settings.
    Changed,
    /// Its virtual host or its worker is gone.
    Removed,
}

/// The code of the Close frames of a drain: "service restart" in the registry
/// of close codes.
const RESTART: u16 = 1012;

/// The hosts of a site by name.
struct Names<'s>(HashMap<&'s str, &'s Host>);

impl<'s> Names<'s> {
    fn new(site: &'s Site) -> Self {
        let mut names = HashMap::new();
        for host in &site.hosts {
            names.entry(host.spec.server_name.as_str()).or_insert(host);
        }
        Self(names)
    }

    fn worker(&self, route: &Route) -> Option<(&'s Host, Option<&'s Arc<WorkerSpec>>)> {
        let host = *self.0.get(&*route.host)?;
        let workers = &host.spec.workers;
        Some((
            host,
            workers.iter().find(|worker| worker.name == *route.rule),
        ))
    }
}

/// What becomes of a route, and what the new site, or for a host that is gone
/// the old one, says is done then.
fn judge(old: &Names<'_>, new: &Names<'_>, route: &Route) -> (Fate, ReloadAction) {
    let before = old.worker(route);
    let after = new.worker(route);
    let fate = match (before.and_then(|(_, worker)| worker), after) {
        (_, None) | (Some(_), Some((_, None))) => Fate::Removed,
        (Some(before), Some((_, Some(after)))) if before != after => Fate::Changed,
        // A worker that no directive names is the target of a rule.
        _ => Fate::Unchanged,
    };
    let host = after.or(before).map(|(host, _)| host);
    let on_reload = host.map_or_else(OnReload::default, |host| host.spec.tunnel.on_reload);
    (fate, action(on_reload, fate))
}

/// `TunnelOnReload`, with what holds without it: keep, keep, drain.
fn action(on_reload: OnReload, fate: Fate) -> ReloadAction {
    match fate {
        Fate::Unchanged => on_reload.unchanged.unwrap_or(ReloadAction::Keep),
        Fate::Changed => on_reload.changed.unwrap_or(ReloadAction::Keep),
        Fate::Removed => on_reload.removed.unwrap_or(ReloadAction::Drain),
    }
}

/// Ends the tunnels that do not outlive a reload; how many.
pub(crate) fn after_reload(engine: &EngineHandle, old: &Site, new: &Site) -> usize {
    let (old, new) = (Names::new(old), Names::new(new));
    let mut ended = 0;
    for route in engine.routes() {
        let (_, action) = judge(&old, &new, &route);
        let host = new.0.get(&*route.host).or_else(|| old.0.get(&*route.host));
        let limits = host.map(|host| host.spec.tunnels).unwrap_or_default();
        let window = match action {
            ReloadAction::Keep => continue,
            ReloadAction::Drain => limits.drain_window,
            ReloadAction::Close => Duration::ZERO,
        };
        ended += bid(engine, window, limits.drain_rate, move |tunnel| {
            tunnel.route == route
        });
    }
    ended
}

/// Ends all tunnels of a site, each host's over its own `TunnelDrainWindow`.
pub(crate) fn drain(engine: &EngineHandle, site: &Site) -> usize {
    let mut windows: HashMap<(Duration, u32), Vec<String>> = HashMap::new();
    for host in &site.hosts {
        let limits = host.spec.tunnels;
        let names = windows
            .entry((limits.drain_window, limits.drain_rate))
            .or_default();
        names.push(host.spec.server_name.clone());
    }
    let main = site.main().spec.tunnels;
    let known: Vec<String> = windows.values().flatten().cloned().collect();
    let mut ended = 0;
    for ((window, rate), names) in windows {
        ended += bid(engine, window, rate, move |tunnel| {
            names.iter().any(|name| **name == *tunnel.route.host)
        });
    }
    // Tunnels of hosts that an earlier configuration had.
    ended
        + bid(engine, main.drain_window, main.drain_rate, move |tunnel| {
            !known.iter().any(|name| **name == *tunnel.route.host)
        })
}

fn bid(
    engine: &EngineHandle,
    window: Duration,
    per_second: u32,
    chosen: impl Fn(&TunnelInfo) -> bool + Send + Sync + 'static,
) -> usize {
    let farewell = Farewell {
        reason: EndReason::Drained,
        code: RESTART,
        window,
        per_second,
    };
    engine
        .bid_farewell(&(Arc::new(chosen) as _), farewell)
        .iter()
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(text: &str) -> Site {
        crate::configuration::read_text("/srv/main.conf", text)
            .site
            .expect("a site")
    }

    #[test]
    fn what_becomes_of_a_route() {
        let old = site(
            "\
<VirtualHost *:80>
    ServerName a.example
    ProxyPass /one ws://10.0.0.1/
    ProxyPass /two ws://10.0.0.2/
    ProxyPass /three ws://10.0.0.3/
</VirtualHost>
<VirtualHost *:80>
    ServerName gone.example
    ProxyPass / ws://10.0.0.4/
</VirtualHost>
",
        );
        let new = site(
            "\
<VirtualHost *:80>
    ServerName a.example
    TunnelOnReload changed=close
    ProxyPass /elsewhere ws://10.0.0.1/
    ProxyPass /two ws://10.0.0.2/ timeout=7
</VirtualHost>
",
        );
        let (old, new) = (Names::new(&old), Names::new(&new));
        let table = [
            (
                "a.example",
                "ws://10.0.0.1",
                Fate::Unchanged,
                ReloadAction::Keep,
            ),
            (
                "a.example",
                "ws://10.0.0.2",
                Fate::Changed,
                ReloadAction::Close,
            ),
            (
                "a.example",
                "ws://10.0.0.3",
                Fate::Removed,
                ReloadAction::Drain,
            ),
            (
                "a.example",
                "ws://by.a.rule",
                Fate::Unchanged,
                ReloadAction::Keep,
            ),
            (
                "gone.example",
                "ws://10.0.0.4",
                Fate::Removed,
                ReloadAction::Drain,
            ),
        ];
        for (host, rule, fate, action) in table {
            let route = Route::new(host, rule, "", "http/1.1");
            assert_eq!(judge(&old, &new, &route), (fate, action), "{host} {rule}");
        }
    }
}
