//! What a reload and a drain do to live tunnels.
//!
//! A tunnel keeps no configuration, only the names of its route: the virtual
//! host, the rule and the worker. Both sites are asked what became of these.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use relais_policy::{DrainSpec, Host, OnReload, ReloadAction, RouteSpec, Site, WorkerSpec};
use relais_tunnel::{EndReason, EngineHandle, Farewell, Filter, Route, RouteNames};

/// What became of a tunnel's route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is as it was, as far as a configuration can tell.
    Unchanged,
    /// Its rule leads elsewhere now, or its worker has other settings.
    Changed,
    /// Its virtual host, its rule or its worker is gone.
    Removed,
}

impl Fate {
    /// Its word in `TunnelOnReload`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What a reload does to the tunnels of one route.
pub(crate) struct Verdict {
    pub(crate) route: Arc<Route>,
    /// How many there are.
    pub(crate) tunnels: usize,
    pub(crate) fate: Fate,
    pub(crate) action: ReloadAction,
    /// How they go, if they do.
    pace: Pace,
}

impl Verdict {
    /// Over how long they end.
    pub(crate) const fn window(&self) -> Duration {
        self.pace.window
    }
}

/// How fast tunnels end: over this window, and so many in a second at the most.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pace {
    window: Duration,
    per_second: u32,
}

/// The code of the Close frames of a drain: "service restart" in the registry
/// of close codes.
const RESTART: u16 = 1012;

/// The hosts of a site by name, which those of other addresses may share.
struct Names<'s>(HashMap<&'s str, Vec<&'s Host>>);

impl<'s> Names<'s> {
    fn new(site: &'s Site) -> Self {
        let mut names: HashMap<&str, Vec<&Host>> = HashMap::new();
        for host in &site.hosts {
            let name = host.spec.server_name.as_str();
            names.entry(name).or_default().push(host);
        }
        Self(names)
    }

    fn hosts(&self, route: RouteNames<'_>) -> &[&'s Host] {
        self.0.get(route.host).map_or(&[], Vec::as_slice)
    }

    fn worker(&self, route: RouteNames<'_>) -> Option<&'s Arc<WorkerSpec>> {
        let mut workers = self.hosts(route).iter().flat_map(|host| &host.spec.workers);
        workers.find(|worker| worker.name == route.worker)
    }

    /// The rules of the same words.
    fn rules(&self, route: RouteNames<'_>) -> impl Iterator<Item = &'s Arc<RouteSpec>> {
        let hosts = self.hosts(route).iter();
        let rules = hosts.flat_map(|host| &host.spec.routes);
        rules.filter(move |rule| rule.rule == route.rule)
    }

    /// The host that has the rule, else one of the name.
    fn host(&self, route: RouteNames<'_>) -> Option<&'s Host> {
        let hosts = self.hosts(route);
        let has_it = |host: &&&Host| {
            let mut rules = host.spec.routes.iter();
            rules.any(|rule| rule.rule == route.rule)
        };
        hosts.iter().find(has_it).or_else(|| hosts.first()).copied()
    }
}

/// What becomes of a route. An operator knows it by its rule; what no rule
/// names is known by its worker.
fn fate(old: &Names<'_>, new: &Names<'_>, route: RouteNames<'_>) -> Fate {
    if new.hosts(route).is_empty() {
        return Fate::Removed;
    }
    if !route.rule.is_empty() {
        let mut rules = new.rules(route).peekable();
        if rules.peek().is_none() {
            return Fate::Removed;
        }
        if !rules.any(|rule| rule.target == route.target) {
            return Fate::Changed;
        }
    }
    match (old.worker(route), new.worker(route)) {
        (Some(_), None) => Fate::Removed,
        (Some(before), Some(after)) if before != after => Fate::Changed,
        // A worker that no directive names is the target of a rule.
        _ => Fate::Unchanged,
    }
}

/// What a section said about its tunnels when this one was opened, else what
/// the new site, or for a host that is gone the old one, says now.
fn drain_spec(old: &Names<'_>, new: &Names<'_>, route: RouteNames<'_>) -> DrainSpec {
    DrainSpec::parse(route.note).unwrap_or_else(|| {
        let host = new.host(route).or_else(|| old.host(route));
        host.map(|host| host.spec.tunnel.drain).unwrap_or_default()
    })
}

/// `TunnelOnReload`, with what holds without it: keep, keep, drain.
fn action(on_reload: OnReload, fate: Fate) -> ReloadAction {
    match fate {
        Fate::Unchanged => on_reload.unchanged.unwrap_or(ReloadAction::Keep),
        Fate::Changed => on_reload.changed.unwrap_or(ReloadAction::Keep),
        Fate::Removed => on_reload.removed.unwrap_or(ReloadAction::Drain),
    }
}

fn judge(old: &Names<'_>, new: &Names<'_>, route: Arc<Route>) -> Verdict {
    let names = route.names();
    let fate = fate(old, new, names);
    let spec = drain_spec(old, new, names);
    let action = action(spec.on_reload, fate);
    let pace = match action {
        ReloadAction::Close => Pace {
            window: Duration::ZERO,
            per_second: 0,
        },
        ReloadAction::Keep | ReloadAction::Drain => Pace::of(spec),
    };
    Verdict {
        tunnels: route.live(),
        fate,
        action,
        pace,
        route,
    }
}

impl Pace {
    fn of(spec: DrainSpec) -> Self {
        Self {
            window: spec.window.unwrap_or(DrainSpec::WINDOW),
            per_second: spec.rate.unwrap_or(0),
        }
    }
}

/// What a change from one site to another does to the live tunnels, the
/// routes with the most of them first.
pub(crate) fn verdicts(engine: &EngineHandle, old: &Site, new: &Site) -> Vec<Verdict> {
    let (old, new) = (Names::new(old), Names::new(new));
    let live = engine.routes().into_iter().filter(|route| route.live() > 0);
    let mut verdicts: Vec<Verdict> = live.map(|route| judge(&old, &new, route)).collect();
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.tunnels));
    verdicts
}

/// Ends the tunnels that do not outlive a reload; how many.
pub(crate) fn carry_out(engine: &EngineHandle, verdicts: &[Verdict]) -> usize {
    let go = verdicts
        .iter()
        .filter(|verdict| verdict.action != ReloadAction::Keep);
    bid(engine, go.map(|verdict| (verdict.pace, &verdict.route)))
}

/// Ends all tunnels of a site, each over its own `TunnelDrainWindow`. Those
/// that are ending already keep their moment.
pub(crate) fn drain(engine: &EngineHandle, site: &Site) -> usize {
    let names = Names::new(site);
    let routes = engine.routes();
    let paced = routes.iter().map(|route| {
        let spec = drain_spec(&names, &names, route.names());
        (Pace::of(spec), route)
    });
    bid(engine, paced)
}

/// Bids farewell to the tunnels of these routes, all of one pace together.
fn bid<'r>(engine: &EngineHandle, routes: impl Iterator<Item = (Pace, &'r Arc<Route>)>) -> usize {
    let mut groups: HashMap<Pace, Vec<Arc<Route>>> = HashMap::new();
    for (pace, route) in routes {
        groups.entry(pace).or_default().push(Arc::clone(route));
    }
    let mut ended = 0;
    for (pace, mut routes) in groups {
        routes.sort_by_key(Arc::as_ptr);
        let chosen: Filter = Arc::new(move |tunnel| {
            let own = Arc::as_ptr(&tunnel.route);
            !tunnel.is_draining && routes.binary_search_by_key(&own, Arc::as_ptr).is_ok()
        });
        let farewell = Farewell {
            reason: EndReason::Drained,
            code: RESTART,
            window: pace.window,
            per_second: pace.per_second,
        };
        ended += engine.bid_farewell(&chosen, farewell).iter().sum::<usize>();
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
<VirtualHost *:8080>
    ServerName a.example
    Redirect / http://a.example/
</VirtualHost>
<VirtualHost *:80>
    ServerName a.example
    ProxyPass /one ws://10.0.0.1/
    ProxyPass /two ws://10.0.0.2/
    ProxyPass /three ws://10.0.0.3/
    ProxyPass /four ws://10.0.0.4/
    RewriteEngine On
    RewriteRule ^/five/(.*)$ ws://10.0.0.5/$1 [P]
    RewriteRule ^/six/(.*)$ ws://10.0.0.6/$1 [P]
    <Location /seven>
        ProxyPass ws://10.0.0.7/
    </Location>
</VirtualHost>
<VirtualHost *:80>
    ServerName gone.example
    ProxyPass / ws://10.0.0.8/
</VirtualHost>
";

    const NEW: &str = "\
# The lines are others now, and the host of the same name has another place.
<VirtualHost *:8080>
    ServerName a.example
    Redirect / http://a.example/
</VirtualHost>
<VirtualHost *:80>
    ServerName a.example
    TunnelOnReload changed=close
    ProxyPass /one ws://10.0.0.1/
    ProxyPass /two ws://10.0.0.2/ timeout=7
    ProxyPass /elsewhere ws://10.0.0.3/
    ProxyPass /four ws://10.0.0.44/
    RewriteEngine On
    RewriteRule ^/five/(.*)$ ws://10.0.0.5/$1 [P]
    <Location /seven>
        ProxyPass ws://10.0.0.7/
    </Location>
</VirtualHost>
";

    fn site(text: &str) -> Site {
        crate::configuration::read_text("/srv/main.conf", text)
            .site
            .expect("a site")
    }

    /// The route of a tunnel by the rule that ends in `pattern`.
    fn route(site: &Site, host: &str, pattern: &str) -> Arc<Route> {
        let hosts = site.hosts.iter();
        let mut rules = hosts
            .filter(|have| have.spec.server_name == host)
            .flat_map(|have| &have.spec.routes);
        let rule = rules.find(|rule| rule.rule.ends_with(pattern));
        let rule = rule.expect("the rule");
        let worker = rule.target.trim_end_matches("$1").trim_end_matches('/');
        Arc::new(Route::new(RouteNames {
            host,
            rule: &rule.rule,
            place: rule.place(),
            target: &rule.target,
            worker,
            ..RouteNames::default()
        }))
    }

    #[test]
    fn what_becomes_of_a_route() {
        use ReloadAction as A;
        let (before, after) = (site(OLD), site(NEW));
        let (old, new) = (Names::new(&before), Names::new(&after));
        for (host, pattern, fate, action) in [
            ("a.example", "/one", Fate::Unchanged, A::Keep),
            ("a.example", "/two", Fate::Changed, A::Close),
            ("a.example", "/three", Fate::Removed, A::Drain),
            ("a.example", "/four", Fate::Changed, A::Close),
            ("a.example", "^/five/(.*)$", Fate::Unchanged, A::Keep),
            ("a.example", "^/six/(.*)$", Fate::Removed, A::Drain),
            ("a.example", "/seven", Fate::Unchanged, A::Keep),
            ("gone.example", "/", Fate::Removed, A::Drain),
        ] {
            let verdict = judge(&old, &new, route(&before, host, pattern));
            assert_eq!(
                (verdict.fate, verdict.action),
                (fate, action),
                "{host} {pattern}"
            );
        }
    }

    #[test]
    fn a_rule_has_a_place() {
        let site = site(OLD);
        let six = route(&site, "a.example", "^/six/(.*)$");
        assert_eq!(six.names().rule, "RewriteRule ^/six/(.*)$");
        assert_eq!(six.names().place, "/srv/main.conf:13");
        let seven = route(&site, "a.example", "/seven");
        assert_eq!(seven.names().rule, "ProxyPass /seven");
        assert_eq!(seven.names().place, "/srv/main.conf:15");
    }

    #[test]
    fn a_section_has_its_own_say() {
        let (before, after) = (site(OLD), site(NEW));
        let (old, new) = (Names::new(&before), Names::new(&after));
        let own = Route::new(RouteNames {
            note: "close - - - -",
            ..route(&before, "a.example", "/one").names()
        });
        let verdict = judge(&old, &new, Arc::new(own));
        assert_eq!(verdict.action, ReloadAction::Close);
        assert_eq!(verdict.window(), Duration::ZERO);
    }

    #[test]
    fn what_no_rule_names_is_known_by_its_worker() {
        let (before, after) = (site(OLD), site(NEW));
        let (old, new) = (Names::new(&before), Names::new(&after));
        for (worker, expected) in [
            ("ws://10.0.0.1", Fate::Unchanged),
            ("ws://10.0.0.2", Fate::Changed),
            ("ws://10.0.0.4", Fate::Removed),
            ("ws://by.a.rule", Fate::Unchanged),
        ] {
            let names = RouteNames {
                host: "a.example",
                worker,
                ..RouteNames::default()
            };
            assert_eq!(fate(&old, &new, names), expected, "{worker}");
        }
    }
}
