//! What the integration tests share: a label that remembers.

use std::sync::{Arc, Condvar, Mutex};

use relais_tunnel::{Handoff, Label, Route, TunnelEnd, TunnelLimits};

/// A WebSocket tunnel with nothing that came along.
pub(crate) fn handoff<S>(
    client: S,
    origin: S,
    limits: TunnelLimits,
    label: Box<dyn Label>,
) -> Handoff<S> {
    Handoff {
        client,
        origin,
        to_origin: Vec::new(),
        to_client: Vec::new(),
        to_client_head: 0,
        websocket: true,
        compressed: false,
        limits: Arc::new(limits),
        peer: ([127, 0, 0, 1], 7).into(),
        route: Arc::new(Route::default()),
        label,
    }
}

/// Collects the ends of tunnels, in order of their ending, each with the number its label was made with.
#[derive(Clone, Default)]
pub(crate) struct Ends(Arc<Memory>);

#[derive(Default)]
struct Memory {
    ends: Mutex<Vec<(usize, TunnelEnd)>>,
    changed: Condvar,
}

impl Ends {
    /// A label for tunnel `number`.
    pub(crate) fn label(&self, number: usize) -> Box<dyn Label> {
        Box::new(Remember(self.clone(), number))
    }

    /// Blocks until `count` tunnels have ended, and gives all ends so far.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn wait(&self, count: usize) -> Vec<(usize, TunnelEnd)> {
        let ends = self.0.ends.lock().unwrap();
        self.0
            .changed
            .wait_while(ends, |ends| ends.len() < count)
            .unwrap()
            .clone()
    }
}

struct Remember(Ends, usize);

impl Label for Remember {
    fn ended(self: Box<Self>, end: &TunnelEnd) {
        let Self(Ends(memory), number) = *self;
        memory.ends.lock().unwrap().push((number, end.clone()));
        memory.changed.notify_all();
    }
}
