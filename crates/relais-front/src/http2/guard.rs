//! What a client may send that costs work and carries nothing.
//!
//! The `h2` crate bounds what can pile up: streams that are reset, header blocks, small pieces of content. What it does
//! not bound is the rate of frames that are answered or looked at and then forgotten: SETTINGS, PING, PRIORITY,
//! WINDOW_UPDATE by the byte, empty DATA, frames of unknown types (CVE-2019-9511 to 9518). So frames are followed by
//! their nine bytes of head, and each of those takes from a budget that real work fills again.

/// Frames without use that may come in a burst.
const BURST: u32 = 2000;

/// How many a second earns.
const PER_SECOND: u32 = 200;

/// How many a request earns: its headers may be followed by a priority, a reset and updates of its windows.
const PER_REQUEST: u32 = 8;

/// Bytes that were sent and earn one: a client has to open its windows as it reads.
const BYTES: u64 = 1024;

/// The client's connection preface (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct Guard {
    head: [u8; HEAD],
    /// Bytes of `head` that have arrived.
    have: usize,
    /// Bytes until the next head.
    skip: usize,
    budget: u32,
    /// Seconds of the connection's life that have been paid out.
    paid: u64,
    /// Bytes sent that have not been paid out.
    sent: u64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            skip: PREFACE.len(),
            budget: BURST,
            paid: 0,
            sent: 0,
        }
    }
}

impl Guard {
    /// Follows received bytes; false once there were too many frames without use. `seconds` is the connection's age, asked
    /// for when the budget is used up.
    pub(super) fn received(&mut self, mut bytes: &[u8], seconds: impl Fn() -> u64) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let part = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + part].copy_from_slice(&bytes[..part]);
            self.have += part;
            bytes = &bytes[part..];
            if self.have == HEAD {
                self.have = 0;
                self.skip = length(&self.head);
                if !self.pay(&seconds) {
                    return false;
                }
            }
        }
        true
    }

    /// Takes note of bytes that went to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        let earned = self.sent / BYTES;
        self.sent %= BYTES;
        self.earn(earned);
    }

    fn pay(&mut self, seconds: impl Fn() -> u64) -> bool {
        match (self.head[3], length(&self.head)) {
            (HEADERS, _) => self.earn(PER_REQUEST.into()),
            (DATA, 1..) => self.earn(1),
            _ => {
                if self.budget == 0 {
                    let now = seconds();
                    self.earn((now - self.paid).saturating_mul(PER_SECOND.into()));
                    self.paid = now;
                }
                match self.budget.checked_sub(1) {
                    Some(left) => self.budget = left,
                    None => return false,
                }
            }
        }
        true
    }

    fn earn(&mut self, frames: u64) {
        let sum = u64::from(self.budget).saturating_add(frames);
        self.budget = u32::try_from(sum).unwrap_or(BURST).min(BURST);
    }
}

/// The length of a frame's payload.
fn length(head: &[u8; HEAD]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        [&head[..], payload].concat()
    }

    fn begun() -> Guard {
        let mut guard = Guard::default();
        assert!(guard.received(PREFACE, || 0));
        guard
    }

    #[test]
    fn a_burst_of_pings_passes_and_a_flood_does_not() {
        let mut guard = begun();
        let ping = frame(6, &[0; 8]);
        assert!(guard.received(&ping.repeat(BURST as usize), || 0));
        assert!(!guard.received(&ping, || 0));
    }

    #[test]
    fn time_requests_and_content_fill_the_budget() {
        let ping = frame(6, &[0; 8]);
        let empty = |guard: &mut Guard| guard.received(&ping.repeat(BURST as usize), || 0);
        let mut guard = begun();
        assert!(empty(&mut guard));
        assert!(guard.received(&ping.repeat(PER_SECOND as usize), || 1));
        assert!(!guard.received(&ping, || 1));
        let mut guard = begun();
        assert!(empty(&mut guard));
        assert!(guard.received(&frame(1, b"head"), || 0));
        assert!(guard.received(&ping.repeat(PER_REQUEST as usize), || 0));
        assert!(!guard.received(&ping, || 0));
        let mut guard = begun();
        assert!(empty(&mut guard));
        guard.sent(3 * BYTES as usize);
        assert!(guard.received(&ping.repeat(3), || 0));
        assert!(!guard.received(&ping, || 0));
    }

    #[test]
    fn empty_content_costs_and_content_does_not() {
        let mut guard = begun();
        assert!(guard.received(&frame(0, b"x").repeat(3 * BURST as usize), || 0));
        assert!(guard.received(&frame(0, b"").repeat(BURST as usize), || 0));
        assert!(!guard.received(&frame(0, b""), || 0));
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let bytes = [PREFACE, &frame(1, &[6; 300]), &frame(6, &[0; 8]).repeat(3)].concat();
        for size in 1..40 {
            let mut guard = Guard::default();
            assert!(bytes.chunks(size).all(|part| guard.received(part, || 0)));
            assert_eq!(guard.budget, BURST - 3, "in pieces of {size}");
        }
    }
}
