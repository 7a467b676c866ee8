//! HTTP/2 in front: clients written by other people, and one that sends any frame.

mod chromium;
mod clients;
mod frames;
mod httpd;
mod limits;
mod requests;
mod websocket;

use crate::harness::program::Running;

/// relais with HTTP/2 on its clear port in front of an origin; `more` goes into the configuration before the proxy's rule.
fn clear(origin: &str, more: &str) -> Running {
    Running::relais(&format!(
        "Protocols h2c http/1.1\n{more}\nProxyPass / {origin}/ upgrade=websocket"
    ))
}
