//! The timer wheel of an engine: which tunnels to look at, and when.
//!
//! A timer is a hint to look. Whoever is looked at may find that its deadline has moved on and set a new timer, so that
//! traffic only has to note the time: resetting an idle time-out costs one store. Timers are not cancelled either; an
//! owner that no longer expects one ignores it.

use std::mem;

/// The width of a slot in milliseconds, and how late a timer may fire.
pub(crate) const TICK_MS: u64 = 128;
/// Slots; together they span 65.5 seconds. A timer further away fires at the rim and is set again.
const SLOTS: u64 = 512;

/// A timer's owner: table slot and generation.
pub(crate) type Owner = (u32, u32);

/// Timers in slots of [`TICK_MS`].
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Owner>>,
    /// The first tick that has not been looked at.
    next: u64,
    /// No timer is earlier than this tick; `None` when there is no timer.
    earliest: Option<u64>,
}

impl Wheel {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            next: now_ms / TICK_MS,
            earliest: None,
        }
    }

    /// Asks for a look at `owner` at `at_ms` or up to a tick later, but no later than the rim. Returns the tick, by
    /// which the owner knows its current timer from older ones.
    pub(crate) fn set(&mut self, owner: Owner, at_ms: u64) -> u64 {
        let tick = at_ms
            .div_ceil(TICK_MS)
            .clamp(self.next, self.next + SLOTS - 1);
        if let Some(slot) = self.slots.get_mut((tick % SLOTS) as usize) {
            slot.push(owner);
        }
        self.earliest = Some(self.earliest.map_or(tick, |earliest| earliest.min(tick)));
        tick
    }

    /// How long to wait for the next timer; `None` without timers.
    pub(crate) fn timeout_ms(&self, now_ms: u64) -> Option<u64> {
        self.earliest
            .map(|tick| (tick * TICK_MS).saturating_sub(now_ms))
    }

    /// Moves the owners of one due slot into `due` and returns the slot's tick, or `None` when nothing is due. To be
    /// called until then.
    pub(crate) fn expire(&mut self, now_ms: u64, due: &mut Vec<Owner>) -> Option<u64> {
        let now = now_ms / TICK_MS;
        let tick = self.earliest.filter(|tick| *tick <= now);
        let Some(tick) = tick else {
            // Ticks without timers are passed by, so that the rim stays a full turn ahead.
            self.next = self
                .next
                .max(now + 1)
                .min(self.earliest.unwrap_or(u64::MAX));
            return None;
        };
        self.next = tick + 1;
        if let Some(slot) = self.slots.get_mut((tick % SLOTS) as usize) {
            due.append(&mut mem::take(slot));
        }
        self.earliest = (self.next..tick + SLOTS).find(|tick| self.is_used(*tick));
        Some(tick)
    }

    fn is_used(&self, tick: u64) -> bool {
        self.slots
            .get((tick % SLOTS) as usize)
            .is_some_and(|slot| !slot.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel, now_ms: u64) -> Vec<Owner> {
        let mut due = Vec::new();
        while wheel.expire(now_ms, &mut due).is_some() {}
        due
    }

    #[test]
    fn timers_fire_once_and_not_early() {
        for (start, at, before, after) in [
            (0, 0, None, 0),
            (0, 1, Some(0), 128),
            (0, 128, Some(127), 128),
            (1000, 1500, Some(1499), 1536),
            (1000, 500, None, 1000),
            (1_000_000, 1_060_000, Some(1_059_999), 1_060_096),
        ] {
            let mut wheel = Wheel::new(start);
            wheel.set((7, 1), at);
            if let Some(before) = before {
                assert_eq!(fired(&mut wheel, before), [], "{start} {at}");
            }
            let wait = wheel.timeout_ms(start).unwrap();
            assert_eq!(
                fired(&mut wheel, after.max(start + wait)),
                [(7, 1)],
                "{start} {at}"
            );
            assert_eq!(fired(&mut wheel, after + 1_000_000), [], "{start} {at}");
            assert_eq!(wheel.timeout_ms(after), None);
        }
    }

    #[test]
    fn a_far_timer_comes_up_at_the_rim() {
        let mut wheel = Wheel::new(0);
        let tick = wheel.set((1, 1), 10_000_000);
        assert_eq!(tick, SLOTS - 1);
        assert_eq!(wheel.timeout_ms(0), Some((SLOTS - 1) * TICK_MS));
    }

    #[test]
    fn many_turns_in_order() {
        let mut wheel = Wheel::new(0);
        let mut now = 0;
        let mut seen = 0;
        wheel.set((0, 0), 100);
        while seen < 500 {
            now += wheel.timeout_ms(now).unwrap();
            for (slot, _) in fired(&mut wheel, now) {
                assert_eq!(slot, seen);
                seen += 1;
                wheel.set((slot + 1, 0), now + 700 + u64::from(slot) * 37);
            }
        }
    }

    #[test]
    fn the_rim_moves_on_without_timers() {
        let mut wheel = Wheel::new(0);
        assert_eq!(fired(&mut wheel, 1_000_000), []);
        let tick = wheel.set((1, 0), 1_000_500);
        assert_eq!(tick, 1_000_500_u64.div_ceil(TICK_MS));
    }
}
