//! How many tunnels may be open, by what they have in common, and the routes that tunnels share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::totals::{Ledger, Totals};
use crate::{Route, RouteNames};

/// Routes that are kept although no tunnel is on them, to be found again.
const ROUTES_IDLE_MAX: usize = 256;

/// What a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Quota {
    /// All tunnels.
    Server,
    /// Those of one virtual host.
    Host(Box<str>),
    /// Those of one client address.
    Client(IpAddr),
}

/// Counts tunnels where there is a limit, from the request on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Quota, u64>,
    routes: Vec<Arc<Route>>,
    ledger: Arc<Ledger>,
}

/// A tunnel's place within the limits, given back when it is dropped.
#[derive(Debug, Default)]
pub struct Permit {
    quotas: Box<[Quota]>,
    gate: Gate,
}

impl Gate {
    /// A place within all of `limits`, or the first that has none left.
    pub(crate) fn enter(&self, limits: &[(Quota, u64)]) -> Result<Permit, Quota> {
        let mut state = self.state();
        for (quota, most) in limits {
            if state.counts.get(quota).copied().unwrap_or(0) >= *most {
                return Err(quota.clone());
            }
        }
        for (quota, _) in limits {
            *state.counts.entry(quota.clone()).or_default() += 1;
        }
        drop(state);
        Ok(Permit {
            quotas: limits.iter().map(|(quota, _)| quota.clone()).collect(),
            gate: self.clone(),
        })
    }

    /// The one copy of a route.
    pub(crate) fn route(&self, names: RouteNames<'_>) -> Arc<Route> {
        let mut state = self.state();
        if let Some(route) = state.routes.iter().find(|route| route.names() == names) {
            return Arc::clone(route);
        }
        if state.routes.len() >= ROUTES_IDLE_MAX {
            state.routes.retain(|route| Arc::strong_count(route) > 1);
        }
        let mut route = Route::new(names);
        route.ledger = Arc::clone(&state.ledger);
        let route = Arc::new(route);
        state.routes.push(Arc::clone(&route));
        route
    }

    pub(crate) fn routes(&self) -> Vec<Arc<Route>> {
        self.state().routes.clone()
    }

    /// What all tunnels have come to.
    pub(crate) fn totals(&self) -> Totals {
        self.state().ledger.totals()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.quotas.is_empty() {
            return;
        }
        let mut state = self.gate.state();
        for quota in &self.quotas {
            if let Some(count) = state.counts.get_mut(quota) {
                *count -= 1;
                if *count == 0 {
                    state.counts.remove(quota);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let gate = Gate::default();
        let client = Quota::Client([127, 0, 0, 1].into());
        let limits = [(Quota::Server, 3), (client.clone(), 2)];
        let first = gate.enter(&limits).unwrap();
        let _second = gate.enter(&limits).unwrap();
        assert_eq!(gate.enter(&limits).unwrap_err(), client);
        let _other = gate.enter(&limits[..1]).unwrap();
        assert_eq!(gate.enter(&limits[..1]).unwrap_err(), Quota::Server);
        drop(first);
        assert!(gate.enter(&limits).is_ok());
        assert_eq!(gate.state().counts.get(&client), Some(&1));
    }

    #[test]
    fn a_route_is_shared_and_forgotten() {
        let gate = Gate::default();
        let route = |rule: &str| {
            gate.route(RouteNames {
                rule,
                ..RouteNames::default()
            })
        };
        let kept = route("kept");
        assert!(Arc::ptr_eq(&kept, &route("kept")));
        for number in 0..3 * ROUTES_IDLE_MAX {
            route(&number.to_string());
        }
        assert!(Arc::ptr_eq(&kept, &route("kept")));
        assert!(gate.routes().len() <= ROUTES_IDLE_MAX);
    }
}
