//! End-to-end tests: the real binary, real sockets, and clients and servers written by other people.
//!
//! Every test starts its own relais on ports that the kernel picks, in a folder of its own, and stops it when the test
//! ends. Tests that need a program which is not part of the Rust toolchain say which Debian package has it; without
//! the package they are skipped, except where the environment variable `CI` is `true`.
//!
//! `RELAIS_TEST_PROGRAM=/usr/sbin/apache2` runs the same tests against httpd, which reads the same configuration: the
//! way to find out what httpd does before a test asserts it of relais.

mod balancers;
mod browser;
mod certificates;
mod conformance;
mod curl;
mod desync;
mod error_log;
mod files;
mod filters;
mod harness;
mod hosts;
mod http2;
mod lifecycle;
mod manager;
mod maps;
mod mod_ssl;
mod mod_ssl_origins;
mod origins;
mod python;
mod rewrite_log;
mod status;
mod tls;
mod tunnels;
mod websocket;
mod workers;
mod wss;
