//! What all worker threads know together of one configuration's origins.

use std::collections::HashMap;
use std::sync::Arc;

use relais_policy::{BalancerSpec, Edit, Host, Site};

use crate::balancer::{Balancer, Member};
use crate::limit::Limits;

/// The shared state of one configuration's origins. What the configuration
/// before had in common with it goes on.
#[derive(Default)]
pub struct Upstreams {
    /// `max=` of every origin that has one.
    pub limits: Arc<Limits>,
    /// By host and place among the host's balancers.
    balancers: Vec<Vec<Arc<Balancer>>>,
    known: HashMap<Key, Arc<Balancer>>,
}

/// Who defines a balancer, its name, and a number for those that share both.
type Key = (String, String, usize);

impl Upstreams {
    /// The state of another configuration, with what stays the same taken over.
    #[must_use]
    pub fn adopt(site: &Site, previous: Option<&Self>) -> Self {
        let limits = previous.map(|previous| Arc::clone(&previous.limits));
        let mut next = Self {
            limits: limits.unwrap_or_default(),
            ..Self::default()
        };
        for host in &site.hosts {
            let balancers = host.spec.balancers.iter();
            let balancers =
                balancers.map(|spec| next.balancer_for(host, site.main(), spec, previous));
            let balancers = balancers.collect();
            next.balancers.push(balancers);
        }
        next
    }

    fn balancer_for(
        &mut self,
        host: &Host,
        main: &Host,
        spec: &BalancerSpec,
        previous: Option<&Self>,
    ) -> Arc<Balancer> {
        let owner = if spec.inherited { main } else { host };
        let owner = format!("{:?} {}", owner.addresses, owner.spec.server_name);
        let mut key = (owner, spec.name.clone(), 0);
        if spec.inherited
            && let Some(shared) = self.known.get(&key)
        {
            return Arc::clone(shared);
        }
        while self.known.contains_key(&key) {
            key.2 += 1;
        }
        let before = previous.and_then(|previous| previous.known.get(&key));
        let balancer = Arc::new(Balancer::adopt(spec, before.map(Arc::as_ref)));
        self.known.insert(key, Arc::clone(&balancer));
        balancer
    }

    /// The members that are to be checked, each once.
    #[must_use]
    pub fn checked(&self) -> Vec<Arc<Member>> {
        let members = self.known.values().flat_map(|balancer| balancer.members());
        members
            .filter(|member| member.spec.health.is_some())
            .collect()
    }

    /// The balancers of a host, by its place.
    #[must_use]
    pub fn balancers(&self, host: usize) -> &[Arc<Balancer>] {
        self.balancers.get(host).map_or(&[], Vec::as_slice)
    }

    /// Makes one change of a host's balancer; what was done, in words.
    #[must_use]
    pub fn edit(
        &self,
        host: usize,
        name: &str,
        member: Option<&str>,
        edit: &Edit,
    ) -> Option<String> {
        let balancer = self
            .balancers(host)
            .iter()
            .find(|have| have.name() == name)?;
        balancer.edit(member, edit)
    }

    /// The live side of a balancer of a host, by the places of both.
    #[must_use]
    pub fn balancer(&self, host: usize, index: usize) -> Option<&Arc<Balancer>> {
        self.balancers.get(host)?.get(index)
    }
}
