//! Which member of a balancer gets a request: what is live about balancers.
//!
//! All worker threads share one [`Balancer`]; the choice is made under its
//! lock, as httpd's is under its mutex, and the counters are atomic, since a
//! tunnel ends on another thread than it began. A reload keeps what it knows
//! of members that stay the same.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relais_policy::{
    BalancerSettings, BalancerSpec, BalancerStatus, Edit, HealthSpec, MemberSpec, MemberStatus,
    MemberStatusNow, Method, Nonce,
};
use tokio::time::Instant;

use crate::sticky::{self, Session};

/// A balancer in use.
pub struct Balancer {
    name: String,
    nonce: String,
    growth: u32,
    state: Mutex<State>,
}

struct State {
    /// As the configuration has them.
    configured: BalancerSettings,
    /// As they have been changed since.
    settings: BalancerSettings,
    entries: Vec<Entry>,
}

/// A member's place in the method's book-keeping.
struct Entry {
    member: Arc<Member>,
    /// What the configuration says of it; `None` for one that was added since.
    configured: Option<MemberSpec>,
    /// byrequests: who has the most is next.
    credit: i64,
}

/// A member in use.
pub struct Member {
    /// What the configuration says, and what has been changed since.
    pub spec: MemberSpec,
    live: Arc<Live>,
}

/// What is known of a member beyond its configuration.
#[derive(Default)]
struct Live {
    status: AtomicU16,
    failed_at: Mutex<Option<Instant>>,
    health: Mutex<Option<HealthSpec>>,
    elected: AtomicUsize,
    busy: AtomicUsize,
    /// Bytes to it, and from it.
    traffic: [AtomicU64; 2],
    /// Checks that have passed, and failed, one after the other.
    checks: [AtomicU32; 2],
}

/// What a choice depends on.
pub struct Ask<'a> {
    /// Path and query.
    pub target: &'a [u8],
    /// The values of all `Cookie` fields.
    pub cookies: &'a [&'a [u8]],
    /// The key of [`Method::Rendezvous`].
    pub key: &'a [u8],
    /// Members that have been tried for this request.
    pub tried: &'a [Arc<Member>],
    /// The time.
    pub now: Instant,
}

/// A member that was chosen.
pub struct Choice {
    /// The member.
    pub member: Arc<Member>,
    /// The name of the cookie or parameter of a sticky balancer.
    pub sticky: Option<String>,
    /// The route that the request names.
    pub route: Option<Vec<u8>>,
    /// Whether the member's route is another than the request's.
    pub route_changed: bool,
}

/// A request or tunnel at a member; it counts as busy while this lives.
pub struct Use(Arc<Member>);

impl Balancer {
    /// A balancer as the configuration has it. A member whose URL `previous` has
    /// too goes on as it is, changes while it ran included; what the
    /// configuration changes counts.
    pub(crate) fn adopt(spec: &BalancerSpec, previous: Option<&Self>) -> Self {
        let before = previous.map(Self::lock);
        let before = before.as_deref();
        let known = before.map_or(&[][..], |before| &before.entries);
        let mut entries: Vec<Entry> = spec
            .members
            .iter()
            .map(|member| Entry::adopt(member, known))
            .collect();
        let is_new = |entry: &&Entry| {
            let url = &entry.member.spec.url;
            entry.configured.is_none() && spec.members.iter().all(|member| member.url != *url)
        };
        entries.extend(known.iter().filter(is_new).map(Entry::again));
        let same = before.filter(|before| before.configured == spec.settings);
        let settings = same.map_or(&spec.settings, |before| &before.settings);
        Self {
            name: spec.name.clone(),
            nonce: match &spec.nonce {
                Nonce::None => String::new(),
                Nonce::Given(nonce) => nonce.clone(),
                Nonce::Random => previous
                    .filter(|previous| !previous.nonce.is_empty())
                    .map_or_else(random_nonce, |previous| previous.nonce.clone()),
            },
            growth: spec.growth,
            state: Mutex::new(State {
                configured: spec.settings.clone(),
                settings: settings.clone(),
                entries,
            }),
        }
    }

    /// `balancer://name`
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a member rests after an answer with this status.
    #[must_use]
    pub fn fails_on_status(&self, status: u16) -> bool {
        self.lock().settings.fail_on_status.contains(&status)
    }

    /// Whether a member rests after it was silent for too long.
    #[must_use]
    pub fn fails_on_timeout(&self) -> bool {
        self.lock().settings.fail_on_timeout
    }

    /// What it is like now.
    #[must_use]
    pub fn snapshot(&self) -> BalancerStatus {
        let state = self.lock();
        BalancerStatus {
            name: self.name.clone(),
            nonce: self.nonce.clone(),
            members_max: configured(&state.entries) + self.growth as usize,
            settings: state.settings.clone(),
            members: state.entries.iter().map(Entry::snapshot).collect(),
        }
    }

    /// Changes a member of this URL, or without one the balancer itself; what
    /// was done, in words. What takes more than this, ending tunnels, does not
    /// happen here.
    pub(crate) fn edit(&self, url: Option<&str>, edit: &Edit) -> Option<String> {
        let mut state = self.lock();
        match (edit, url) {
            (Edit::Settings(settings), _) => {
                state.settings = settings.clone();
                Some(format!("{} has other settings", self.name))
            }
            (Edit::Add(spec), _) => {
                let known = state.entries.iter();
                let is_known = known.clone().any(|entry| entry.member.spec.url == spec.url);
                let most = configured(&state.entries) + self.growth as usize;
                if is_known || state.entries.len() >= most {
                    return None;
                }
                state.entries.push(Entry {
                    member: Arc::new(Member::adopt(spec, None)),
                    configured: None,
                    credit: 0,
                });
                Some(format!("{} has a new member {}", self.name, spec.url))
            }
            (_, None) => None,
            (_, Some(url)) => {
                let mut entries = state.entries.iter_mut();
                let entry = entries.find(|entry| entry.member.spec.url == url)?;
                let done = entry.edit(edit)?;
                Some(format!("{}: member {url} {done}", self.name))
            }
        }
    }

    /// Its members, in file order.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<Member>> {
        let state = self.lock();
        let members = state.entries.iter().map(|entry| Arc::clone(&entry.member));
        members.collect()
    }

    /// How many members may be tried for one request after the first.
    #[must_use]
    pub fn attempts_max(&self) -> usize {
        let state = self.lock();
        let others = state.entries.len().saturating_sub(1);
        let wanted = state.settings.attempts_max;
        wanted.map_or(others, |most| most as usize)
    }

    /// Chooses a member (mod_proxy_balancer's `proxy_balancer_pre_request`);
    /// `None` where none can be used, or where a session's cannot and
    /// `nofailover` is on.
    #[must_use]
    pub fn choose(&self, ask: &Ask<'_>) -> Option<Choice> {
        let mut state = self.lock();
        let state = &mut *state;
        recover(state, ask.now);
        let session = state
            .settings
            .sticky
            .as_ref()
            .map(|sticky| sticky::find(sticky, ask.target, ask.cookies));
        let bound = match &session {
            Some(Session::Route(route)) => by_route(&state.entries, route, ask),
            Some(Session::Key(key)) => by_key(&state.entries, key, ask),
            _ => None,
        };
        let route = match session {
            Some(Session::Route(route)) => Some(route),
            _ => None,
        };
        let index = match bound {
            Some(index) => {
                if route.is_some() {
                    pay(&mut state.entries, index);
                }
                index
            }
            None if route.is_some() && state.settings.no_failover => return None,
            None => by_method(state, ask)?,
        };
        let entry = &state.entries[index];
        entry.member.live.elected.fetch_add(1, Ordering::Relaxed);
        let own = entry.member.spec.route.as_bytes();
        let sticky = state.settings.sticky.as_ref().map(sticky::name);
        Some(Choice {
            member: Arc::clone(&entry.member),
            route_changed: sticky.is_some() && !own.is_empty() && route.as_deref() != Some(own),
            sticky,
            route,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn adopt(spec: &MemberSpec, known: &[Self]) -> Self {
        let before = known.iter().find(|have| have.member.spec.url == spec.url);
        let same = before.filter(|have| have.configured.as_ref() == Some(spec));
        let changed = same.map_or(spec, |have| &have.member.spec);
        Self {
            member: Arc::new(Member::adopt(changed, before.map(|have| &have.member))),
            configured: Some(spec.clone()),
            credit: 0,
        }
    }

    /// Changes the member for requests that come from now on; those that it has
    /// keep it as it was. What was done, in words.
    fn edit(&mut self, edit: &Edit) -> Option<String> {
        let mut spec = self.member.spec.clone();
        let done = match edit {
            Edit::Factor(factor) => {
                spec.factor = *factor;
                format!("has the load factor {:.2}", f64::from(*factor) / 100.0)
            }
            Edit::Set(set) => {
                spec.set = *set;
                format!("is in set {set}")
            }
            Edit::Route(route) => {
                spec.route.clone_from(route);
                format!("has the route `{route}`")
            }
            Edit::Redirect(redirect) => {
                spec.redirect.clone_from(redirect);
                format!("has the redirect `{redirect}`")
            }
            Edit::Health(health) => {
                let own = self.member.live.health.lock();
                *own.unwrap_or_else(PoisonError::into_inner) = Some(health.clone());
                return Some("is looked after otherwise".to_owned());
            }
            Edit::Status(bit, on) => {
                self.member.set_status(*bit, *on);
                let words = MemberStatus::ALL.iter().find(|(_, have, _)| have == bit);
                let word = words.map_or("", |(_, _, word)| word);
                let state = if *on { "on" } else { "off" };
                return Some(format!("has {word} {state}"));
            }
            Edit::DrainTunnels | Edit::Settings(_) | Edit::Add(_) => return None,
        };
        let live = Arc::clone(&self.member.live);
        self.member = Arc::new(Member { spec, live });
        Some(done)
    }

    /// The same in another balancer.
    fn again(&self) -> Self {
        Self {
            member: Arc::clone(&self.member),
            configured: self.configured.clone(),
            credit: 0,
        }
    }

    fn snapshot(&self) -> MemberStatusNow {
        let Member { spec, live } = &*self.member;
        let checks = live.checks.each_ref();
        MemberStatusNow {
            url: spec.url.clone(),
            origin: [
                spec.worker.scheme.as_str().to_owned(),
                spec.worker.host.clone(),
            ],
            port: spec.worker.port,
            status: self.member.status(),
            route: spec.route.clone(),
            redirect: spec.redirect.clone(),
            factor: spec.factor,
            set: spec.set,
            elected: self.member.elected() as u64,
            busy: self.member.busy() as u64,
            load: self.credit,
            traffic: self.member.traffic(),
            health: self.member.health(),
            checks: checks.map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl Member {
    fn adopt(spec: &MemberSpec, previous: Option<&Arc<Self>>) -> Self {
        let live = previous
            .map(|previous| Arc::clone(&previous.live))
            .unwrap_or_default();
        if previous.is_none_or(|previous| previous.spec.status != spec.status) {
            live.status.store(spec.status, Ordering::Release);
        }
        let health = live.health.lock();
        health
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&spec.health);
        if spec.health.is_none() {
            // Nobody is left to find it well again.
            live.status
                .fetch_and(!MemberStatus::UNHEALTHY | spec.status, Ordering::AcqRel);
        }
        Self {
            spec: spec.clone(),
            live,
        }
    }

    /// The bits of [`MemberStatus`].
    #[must_use]
    pub fn status(&self) -> u16 {
        self.live.status.load(Ordering::Acquire)
    }

    /// Sets or clears bits of [`MemberStatus`], on all threads at once.
    pub fn set_status(&self, bits: u16, on: bool) {
        if on {
            self.live.status.fetch_or(bits, Ordering::AcqRel);
        } else {
            self.live.status.fetch_and(!bits, Ordering::AcqRel);
        }
    }

    /// How it is looked after, as it is now.
    #[must_use]
    pub fn health(&self) -> Option<HealthSpec> {
        let health = self.live.health.lock();
        health.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it was chosen.
    #[must_use]
    pub fn elected(&self) -> usize {
        self.live.elected.load(Ordering::Relaxed)
    }

    /// Requests and tunnels at it.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.live.busy.load(Ordering::Relaxed)
    }

    /// Bytes to it, and from it.
    #[must_use]
    pub fn traffic(&self) -> [u64; 2] {
        self.live
            .traffic
            .each_ref()
            .map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Writes down how many checks have passed, and failed, in a row.
    pub(crate) fn checked(&self, passes: u32, fails: u32) {
        for (counter, count) in self.live.checks.iter().zip([passes, fails]) {
            counter.store(count, Ordering::Relaxed);
        }
    }

    /// Counts a request or tunnel.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Use {
        self.live.busy.fetch_add(1, Ordering::Relaxed);
        Use(Arc::clone(self))
    }

    /// Lets it rest for `retry=`, unless its errors are to be ignored.
    pub fn fail(&self, now: Instant) {
        if self.status() & MemberStatus::IGNORE_ERRORS == 0 {
            *self.failed() = Some(now);
            self.set_status(MemberStatus::ERROR, true);
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.live
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_usable(&self) -> bool {
        self.status() & MemberStatus::UNUSABLE == 0
    }

    fn is(&self, bit: u16) -> bool {
        self.status() & bit != 0
    }

    /// Ends its rest when that has lasted long enough.
    fn wake(&self, now: Instant) {
        if self.is(MemberStatus::ERROR) {
            let rested = self.failed().is_none_or(|at| now >= at + self.spec.retry);
            if rested {
                self.set_status(MemberStatus::ERROR, false);
            }
        }
    }
}

impl Use {
    /// The member.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.0
    }

    /// Counts bytes to the member, and from it.
    pub fn count(&self, to: u64, from: u64) {
        for (counter, bytes) in self.0.live.traffic.iter().zip([to, from]) {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.live.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends rests that are over, and all of them when nobody would be left.
fn recover(state: &State, now: Instant) {
    for entry in &state.entries {
        entry.member.wake(now);
    }
    let resting = |entry: &Entry| entry.member.is(MemberStatus::ERROR);
    if state.settings.force_recovery && state.entries.iter().all(resting) {
        for entry in &state.entries {
            entry.member.set_status(MemberStatus::ERROR, false);
        }
    }
}

/// A session's member; one that drains keeps its sessions. If it is down, the
/// one that its `redirect` names, or a hot standby of the same route.
fn by_route(entries: &[Entry], route: &[u8], ask: &Ask<'_>) -> Option<usize> {
    let named = |route: &[u8], standby: bool| {
        entries.iter().position(|entry| {
            entry.member.spec.route.as_bytes() == route
                && entry.member.is(MemberStatus::STANDBY) == standby
        })
    };
    let usable = |index: usize| {
        let member = &entries[index].member;
        member.is_usable() && !is_tried(member, ask)
    };
    let own = named(route, false);
    if let Some(index) = own.filter(|&index| usable(index)) {
        return Some(index);
    }
    let redirect = own.map(|index| entries[index].member.spec.redirect.as_bytes());
    let redirect = redirect.filter(|route| !route.is_empty());
    let redirected = redirect.and_then(|route| named(route, false));
    redirected
        .filter(|&index| usable(index))
        .or_else(|| named(route, true).filter(|&index| usable(index)))
}

/// A session's request counts in the turns too: every member that can be used
/// earns its factor, and the one that is bound pays them.
fn pay(entries: &mut [Entry], bound: usize) {
    let mut total = 0;
    let usable = entries.iter_mut().filter(|entry| entry.member.is_usable());
    for entry in usable {
        let factor = i64::from(entry.member.spec.factor);
        entry.credit += factor;
        total += factor;
    }
    entries[bound].credit -= total;
}

fn is_tried(member: &Member, ask: &Ask<'_>) -> bool {
    // One that has been changed since is the same all the same.
    let mut tried = ask.tried.iter();
    tried.any(|tried| Arc::ptr_eq(&tried.live, &member.live))
}

/// Members that the configuration has.
fn configured(entries: &[Entry]) -> usize {
    let known = entries.iter().filter(|entry| entry.configured.is_some());
    known.count()
}

/// A text that nobody can guess, from the system's own source.
fn random_nonce() -> String {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        // Without it, the standard library's own random keys.
        bytes = crate::health::nonce();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The member with the highest score for a key, among all that can be used.
fn by_key(entries: &[Entry], key: &[u8], ask: &Ask<'_>) -> Option<usize> {
    best_score(entries, &candidates(entries, ask), key)
}

fn by_method(state: &mut State, ask: &Ask<'_>) -> Option<usize> {
    let candidates = candidates(&state.entries, ask);
    match state.settings.method {
        Method::Rendezvous => best_score(&state.entries, &candidates, ask.key),
        Method::ByTraffic => candidates.into_iter().min_by_key(|&index| {
            let member = &state.entries[index].member;
            let bytes: u64 = member.traffic().iter().sum();
            bytes.saturating_mul(100) / u64::from(member.spec.factor.max(1))
        }),
        Method::ByRequests => by_credit(&mut state.entries, &candidates, false),
        Method::ByBusyness => by_credit(&mut state.entries, &candidates, true),
    }
}

/// httpd's `byrequests`: every candidate earns its factor, and the richest one
/// pays what all have earned. With `busyness` the least busy one is served
/// first and credit decides between equals.
fn by_credit(entries: &mut [Entry], candidates: &[usize], busyness: bool) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for &index in candidates {
        let factor = i64::from(entries[index].member.spec.factor);
        total += factor;
        entries[index].credit += factor;
        let better = best.is_none_or(|best| {
            let (one, other) = (&entries[index], &entries[best]);
            let (busy, less) = if busyness {
                (one.member.busy(), other.member.busy())
            } else {
                (0, 0)
            };
            busy < less || (busy == less && one.credit > other.credit)
        });
        if better {
            best = Some(index);
        }
    }
    let best = best?;
    entries[best].credit -= total;
    Some(best)
}

/// The members of the lowest set that has any: the ordinary ones and as many
/// spares as there are ordinary ones out of use; standbys where that is none
/// (`ap_proxy_balancer_get_best_worker`).
fn candidates(entries: &[Entry], ask: &Ask<'_>) -> Vec<usize> {
    let highest = entries.iter().map(|entry| entry.member.spec.set).max();
    for set in 0..=highest.unwrap_or(0) {
        let (mut found, mut spares, mut standbys) = (Vec::new(), Vec::new(), Vec::new());
        let mut missing = 0;
        for (index, Entry { member, .. }) in entries.iter().enumerate() {
            if member.spec.set != set {
                continue;
            }
            let (spare, standby) = (
                member.is(MemberStatus::SPARE),
                member.is(MemberStatus::STANDBY),
            );
            let free =
                member.is_usable() && !member.is(MemberStatus::DRAIN) && !is_tried(member, ask);
            match (free, spare, standby) {
                (true, _, true) => standbys.push(index),
                (true, true, false) => spares.push(index),
                (true, false, false) => found.push(index),
                (false, false, false) => missing += 1,
                (false, ..) => {}
            }
        }
        found.extend(spares.into_iter().take(missing));
        if found.is_empty() {
            found = standbys;
        }
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Rendezvous hashing by weight: every member scores the key, the highest
/// wins, so that a member's loss moves its own keys and no others.
fn best_score(entries: &[Entry], candidates: &[usize], key: &[u8]) -> Option<usize> {
    let score = |index: usize| {
        let spec = &entries[index].member.spec;
        // The upper 53 bits as a fraction above zero and below one.
        let fraction =
            ((hash(&[spec.url.as_bytes(), b"\0", key]) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(spec.factor.max(1)) / fraction.ln()
    };
    let scored = candidates.iter().map(|&index| (index, score(index)));
    scored
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(index, _)| index)
}

/// FNV-1a with a final mix: the same on every machine and in every version, so
/// that two proxies choose alike.
fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_policy::{Scheme, Sticky, WorkerSpec};
    use std::time::Duration;

    fn member(number: u16, edit: impl FnOnce(&mut MemberSpec)) -> MemberSpec {
        let worker = WorkerSpec::new(Scheme::Http, "h", 8000 + number, Duration::from_secs(1));
        let mut spec = MemberSpec {
            url: worker.name.clone(),
            worker: Arc::new(worker),
            path: String::new(),
            route: char::from(b'a' + number as u8).to_string(),
            redirect: String::new(),
            factor: 100,
            set: 0,
            status: 0,
            retry: Duration::from_secs(60),
            health: None,
        };
        edit(&mut spec);
        spec
    }

    fn balancer(settings: BalancerSettings, members: Vec<MemberSpec>) -> Balancer {
        let spec = BalancerSpec {
            name: "balancer://b".to_owned(),
            inherited: false,
            index: 0,
            members,
            settings,
            nonce: Nonce::Random,
            growth: 1,
        };
        Balancer::adopt(&spec, None)
    }

    /// The routes of the members that are chosen one after the other.
    fn routes(
        balancer: &Balancer,
        target: &str,
        cookie: &str,
        count: usize,
        now: Instant,
    ) -> String {
        let cookies: &[&[u8]] = &[cookie.as_bytes()];
        let ask = Ask {
            target: target.as_bytes(),
            cookies,
            key: target.as_bytes(),
            tried: &[],
            now,
        };
        let chosen = (0..count).map(|_| {
            let choice = balancer.choose(&ask);
            choice.map_or_else(|| "-".to_owned(), |choice| choice.member.spec.route.clone())
        });
        chosen.collect()
    }

    fn sticky() -> Option<Sticky> {
        Some(Sticky::Route {
            cookie: "R".to_owned(),
            parameter: "r".to_owned(),
            separator: Some(b'.'),
            semicolon: false,
        })
    }

    #[test]
    fn by_requests_follows_the_factors_as_httpd_does() {
        let members = vec![member(0, |m| m.factor = 200), member(1, |_| {})];
        let balancer = balancer(BalancerSettings::default(), members);
        assert_eq!(routes(&balancer, "/", "", 9, Instant::now()), "abaabaaba");
    }

    #[test]
    fn standbys_spares_sets_and_drains() {
        use MemberStatus as S;
        let now = Instant::now();
        // Status bits of four members of the sets 0, 0, 0, 1; who is chosen.
        let table: &[([u16; 4], &str)] = &[
            ([0, 0, 0, 0], "abc"),
            ([0, S::STANDBY, 0, 0], "aca"),
            ([S::DISABLED, S::STANDBY, S::STOPPED, 0], "bbb"),
            ([0, S::SPARE, 0, 0], "aca"),
            ([S::UNHEALTHY, S::SPARE, 0, 0], "cbc"),
            ([S::DRAIN, S::SPARE, 0, 0], "cbc"),
            ([S::DRAIN, 0, 0, 0], "bcb"),
            ([S::STOPPED, S::STOPPED, S::DISABLED, 0], "ddd"),
            ([S::STOPPED; 4], "---"),
        ];
        for (bits, expected) in table {
            let members = (0..4).map(|number| {
                member(number, |m| {
                    m.status = bits[usize::from(number)];
                    m.set = u8::from(number == 3);
                })
            });
            let balancer = balancer(BalancerSettings::default(), members.collect());
            assert_eq!(&routes(&balancer, "/", "", 3, now), expected, "{bits:?}");
        }
    }

    #[test]
    fn sessions_stay_with_their_member() {
        use MemberStatus as S;
        let now = Instant::now();
        let settings = BalancerSettings {
            sticky: sticky(),
            ..BalancerSettings::default()
        };
        let strict = BalancerSettings {
            no_failover: true,
            ..settings.clone()
        };
        let members = |bits: u16, redirect: &str| {
            vec![
                member(0, |_| {}),
                member(1, |m| {
                    m.status = bits;
                    m.redirect = redirect.to_owned();
                }),
                member(2, |_| {}),
            ]
        };
        let table: &[(&BalancerSettings, u16, &str, &str, &str, &str)] = &[
            (&settings, 0, "", "/x", "R=1.b", "bbb"),
            (&settings, 0, "", "/x?r=1.c&y", "R=1.b", "ccc"),
            (&settings, 0, "", "/x;r=1.c", "", "ccc"),
            (&settings, 0, "", "/x", "R=1.x.b", "abc"),
            (&settings, 0, "", "/x", "R=b", "abc"),
            (&settings, S::DRAIN, "", "/x", "R=1.b", "bbb"),
            (&settings, S::STOPPED, "", "/x", "R=1.b", "aca"),
            (&settings, S::STOPPED, "c", "/x", "R=1.b", "ccc"),
            (&strict, S::STOPPED, "", "/x", "R=1.b", "---"),
            (&strict, S::STOPPED, "", "/x", "", "aca"),
        ];
        for (settings, bits, redirect, target, cookie, expected) in table {
            let balancer = balancer((*settings).clone(), members(*bits, redirect));
            let found = routes(&balancer, target, cookie, 3, now);
            assert_eq!(&found, expected, "{bits} {redirect} {target} {cookie}");
        }
    }

    #[test]
    fn a_failed_member_rests_and_comes_back() {
        let now = Instant::now();
        let balancer = balancer(
            BalancerSettings::default(),
            vec![member(0, |_| {}), member(1, |_| {})],
        );
        balancer.members()[0].fail(now);
        assert_eq!(routes(&balancer, "/", "", 3, now), "bbb");
        let later = now + Duration::from_secs(61);
        assert!(routes(&balancer, "/", "", 2, later).contains('a'));
        // All of them at once: nobody is left to wait for.
        balancer
            .members()
            .iter()
            .for_each(|member| member.fail(now));
        assert_ne!(routes(&balancer, "/", "", 1, now), "-");
    }

    #[test]
    fn the_least_busy_and_the_least_used() {
        let now = Instant::now();
        let by = |method| BalancerSettings {
            method,
            ..BalancerSettings::default()
        };
        let two = || vec![member(0, |_| {}), member(1, |_| {})];
        let busy = balancer(by(Method::ByBusyness), two());
        let tunnel = busy.members()[0].begin();
        assert_eq!(routes(&busy, "/", "", 3, now), "bbb");
        drop(tunnel);
        assert!(routes(&busy, "/", "", 2, now).contains('a'));
        let traffic = balancer(by(Method::ByTraffic), two());
        traffic.members()[0].begin().count(4, 6);
        assert_eq!(routes(&traffic, "/", "", 2, now), "bb");
        traffic.members()[1].begin().count(20, 0);
        assert_eq!(routes(&traffic, "/", "", 2, now), "aa");
    }

    #[test]
    fn a_lost_member_moves_its_own_keys_only() {
        let now = Instant::now();
        let settings = BalancerSettings {
            method: Method::Rendezvous,
            ..BalancerSettings::default()
        };
        let members = (0..4).map(|number| member(number, |_| {})).collect();
        let balancer = balancer(settings, members);
        let choose = |key: usize| routes(&balancer, &format!("/{key}"), "", 1, now);
        let before: Vec<String> = (0..400).map(choose).collect();
        for route in ["a", "b", "c", "d"] {
            let share = before.iter().filter(|have| *have == route).count();
            assert!((50..150).contains(&share), "{route} has {share} of 400");
        }
        balancer.members()[2].set_status(MemberStatus::STOPPED, true);
        for (key, before) in before.iter().enumerate() {
            let after = routes(&balancer, &format!("/{key}"), "", 1, now);
            assert!(before == "c" || *before == after, "{key}");
        }
    }

    #[test]
    fn sockjs_sessions_stay_together() {
        let now = Instant::now();
        let settings = BalancerSettings {
            sticky: Some(Sticky::SockJs),
            ..BalancerSettings::default()
        };
        let members = (0..4).map(|number| member(number, |_| {})).collect();
        let balancer = balancer(settings, members);
        let session = |name: &str, transport: &str| {
            routes(
                &balancer,
                &format!("/eventbus/123/{name}/{transport}"),
                "",
                1,
                now,
            )
        };
        let chosen: Vec<String> = (0..40)
            .map(|number| {
                let name = format!("s{number}");
                let one = session(&name, "xhr_streaming");
                assert_eq!(one, session(&name, "xhr_send"));
                one
            })
            .collect();
        assert!(chosen.iter().any(|route| *route != chosen[0]));
        assert_eq!(routes(&balancer, "/eventbus/info", "", 4, now), "abcd");
    }

    #[test]
    fn what_stays_the_same_survives_a_reload() {
        let now = Instant::now();
        let members = vec![member(0, |_| {}), member(1, |_| {})];
        let before = balancer(BalancerSettings::default(), members.clone());
        before.members()[1].fail(now);
        let spec = BalancerSpec {
            name: "balancer://b".to_owned(),
            inherited: false,
            index: 0,
            members: vec![member(0, |m| m.factor = 200), members[1].clone()],
            settings: BalancerSettings::default(),
            nonce: Nonce::Random,
            growth: 1,
        };
        let tunnel = before.members()[0].begin();
        let after = Balancer::adopt(&spec, Some(&before));
        assert_eq!(after.members()[0].busy(), 1);
        drop(tunnel);
        assert_eq!(after.members()[0].busy(), 0);
        assert_eq!(routes(&after, "/", "", 2, now), "aa");
    }

    #[test]
    fn changes_count_at_once_and_outlive_a_reload() {
        let now = Instant::now();
        let members = || vec![member(0, |_| {}), member(1, |_| {})];
        let before = balancer(BalancerSettings::default(), members());
        let (one, other) = ("http://h:8000", "http://h:8001");
        let tunnel = before.members()[0].begin();
        let edits = [
            (Some(one), Edit::Route("x".to_owned())),
            (Some(other), Edit::Status(MemberStatus::DRAIN, true)),
            (
                None,
                Edit::Add(Box::new(member(2, |m| m.status = MemberStatus::DISABLED))),
            ),
        ];
        for (url, edit) in &edits {
            assert!(before.edit(*url, edit).is_some(), "{edit:?}");
        }
        // There is room for one only, and none for what is not there.
        assert!(
            before
                .edit(None, &Edit::Add(Box::new(member(3, |_| {}))))
                .is_none()
        );
        assert!(before.edit(Some("http://none"), &Edit::Set(1)).is_none());
        assert_eq!(routes(&before, "/", "", 3, now), "xxx");
        assert_eq!(before.members()[0].busy(), 1);
        let spec = |members| BalancerSpec {
            name: "balancer://b".to_owned(),
            inherited: false,
            index: 0,
            members,
            settings: BalancerSettings::default(),
            nonce: Nonce::Random,
            growth: 1,
        };
        let after = Balancer::adopt(&spec(members()), Some(&before));
        assert_eq!(routes(&after, "/", "", 3, now), "xxx");
        assert_eq!(after.members().len(), 3);
        assert_eq!(after.nonce, before.nonce);
        let changed = vec![member(0, |m| m.factor = 200), member(1, |_| {})];
        let again = Balancer::adopt(&spec(changed), Some(&after));
        assert_eq!(
            routes(&again, "/", "", 3, now),
            "aaa",
            "the configuration has another word"
        );
        drop(tunnel);
    }
}
